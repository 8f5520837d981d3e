"""The layout of the read models in Redis: what the projector writes and the query API reads.

Keys are `sf:{<projection>:<generation>:<partition>}:<kind>:<id>`; the part in braces is the
cluster's hash tag, so that a partition's documents and its checkpoint live together and one script
writes them at once.

    movies      movie:<movie_id>           JSON     MovieDocument, details as the API shows them
                stats:<movie_id>           JSON     RatingStatistics
                history:<movie_id>:<year>  msgpack  HistoryYear, daily differences of the histogram
                raters:<movie_id>          sorted   user id (16 bytes) by rating_rank
                catalogue                  sorted   movie id (16 bytes) by creation, milliseconds
    profiles    profile:<user_id>          JSON     ProfileDocument
                private:<user_id>          JSON     PrivateDocument, if there is an e-mail
                access:<subject_id>        JSON     AccessDocument (`access.py`), if the log says
                                                    anything of a user's or a key's tokens
                stats:<user_id>            JSON     RatingStatistics
                ratings:<user_id>          sorted   movie id (16 bytes) by rating_rank
                reviews:<user_id>          hash     review text by movie id (16 bytes)
    changes     movies                     stream   entry <position>-0, field movie = movie id
    each        checkpoint                 msgpack  Checkpoint

Where an entity is parked, its partition also has `parked:<id>` (JSON, Parked), and the same as a
field of the hash `parked`, by the entity's id (16 bytes).

Every string document, every field of a hash and every entry's movie id ends with a checksum
(`checksum.py`); ranks carry check bits (`ranks.py`), a checkpoint and the copy of the
generations a checksum of their own, which older releases pass over (`checkpoints.py`).
`sf:damaged` is a set of what readers found damaged, for the projector to heal (`damage.py`).

`sf:log` says of which log the read models are (PostgreSQL's `log_identity`, with a checksum).
`sf:generations` is the readers' copy of the table of generations, and the channel on which a new
copy is announced; on the channel `sf:applied` the projector says which position it has come to;
`sf:scrubbed` is the erasure that Redis's own files are clean of; `sf:status` says how far each
projection is.
"""
