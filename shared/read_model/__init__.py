"""The layout of the read models in Redis, which the projector writes and the query API reads.

Keys are `sf:{<projection>:<generation>:<partition>}:<kind>:<id>`; the part in braces is the
cluster's hash tag, so that a partition's documents and its checkpoint are on one server and one
script writes them at once.

    movies      movie:<movie_id>           JSON     MovieDocument, details as the API shows them
                stats:<movie_id>           JSON     RatingStatistics
                history:<movie_id>:<year>  msgpack  HistoryYear, daily differences of the histogram
                raters:<movie_id>          sorted   user id (16 bytes) by rating_rank
                catalogue                  sorted   movie id (16 bytes) by creation, milliseconds
    profiles    profile:<user_id>          JSON     ProfileDocument
                private:<user_id>          JSON     PrivateDocument, if there is an e-mail
                access:<subject_id>        JSON     AccessDocument (`access.py`), if an event
                                                    concerns tokens of the user or key
                stats:<user_id>            JSON     RatingStatistics
                ratings:<user_id>          sorted   movie id (16 bytes) by rating_rank
                reviews:<user_id>          hash     review text by movie id (16 bytes)
                positions:<user_id>:<n>    hash     position of a rating's last change by the end
                                                    of the movie id (3 bytes), of its withdrawal or
                                                    move by the movie id (16 bytes); n is 0 or 1
    changes     movies                     stream   entry <position>-0, field movie = movie id
    each        checkpoint                 msgpack  Checkpoint

The partition of a parked entity also has `parked:<id>` (JSON, Parked), and the same as a field of
the hash `parked`, by the entity's id (16 bytes).

Every string document, every field of a hash and every entry's movie id ends with a checksum, a
position with a check byte (`checksum.py`); ranks have check bits (`ranks.py`), a checkpoint and the
copy of the generations have their own checksums, which older releases ignore (`checkpoints.py`).

`sf:damaged` is the set of damage reports from readers, for the projector to heal (`damage.py`).
`sf:log` names the log of the read models (PostgreSQL's `log_identity`, with a checksum).
`sf:generations` is the readers' copy of the table of generations, and the channel that announces a
new copy; on the channel `sf:applied` the projector announces the position that it has applied;
`sf:scrubbed` is the erasure up to which Redis's own files are clean; `sf:status` is the progress of
each projection.
"""
