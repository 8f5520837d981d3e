"""The rules: pure `decide(command, state) -> events` and `evolve(state, event) -> state`, one
module a noun.

No clock, no ids made here, no I/O: times and ids arrive in the command. A rule that refuses raises
`Rejected`.
"""
