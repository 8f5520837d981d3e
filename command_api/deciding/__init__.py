"""The rules: pure `decide(command, state) -> events` and `evolve(state, event) -> state`.

There is one module for each noun. No clock, no new ids, no I/O: times and ids arrive in the
command. A rule that refuses raises `Rejected`.
"""
