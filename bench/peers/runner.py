"""The library's ProjectionRunner following its own log, one transaction for each event.

`python -m bench.peers.runner EVENTS` appends this number of ratings at once, lets the runner
project them and prints the seconds that it took. It stores the same as Starfold's three projections
store of a rating: a movie's and a user's statistics and the rating itself.
"""

from __future__ import annotations

import random
import sys
import time
from typing import Any
from uuid import UUID, uuid4

from eventsourcing.persistence import Tracking
from eventsourcing.postgres import PostgresDatastore, PostgresTrackingRecorder
from eventsourcing.projection import Projection, ProjectionRunner
from psycopg.sql import SQL

from bench.peers.library import Rating, Ratings, environment
from bench.peers.serving import dsn
from shared.process.gc_tuning import tune_collector

USERS, MOVIES = 100, 200
TIMEOUT_S = 60.0


class FollowedRatings(Ratings):
    """An application with its own log."""

    name = "followed"


class StatisticsView(PostgresTrackingRecorder):
    """Stores statistics as counts and sums, and the ratings, in tables."""

    def __init__(self, datastore: PostgresDatastore, **kwargs: Any) -> None:
        super().__init__(datastore, **kwargs)
        for table in ("movie_statistics", "user_statistics"):
            self.sql_create_statements.append(
                SQL(
                    f"CREATE TABLE IF NOT EXISTS {table} ("
                    "id uuid PRIMARY KEY, count bigint NOT NULL, half_stars bigint NOT NULL)"
                ).format()
            )
        self.sql_create_statements.append(
            SQL(
                "CREATE TABLE IF NOT EXISTS projected_ratings (user_id uuid, movie_id uuid,"
                " half_stars smallint NOT NULL, PRIMARY KEY (user_id, movie_id))"
            ).format()
        )

    def add(self, user_id: UUID, movie_id: UUID, half_stars: int, tracking: Tracking) -> None:
        """Write all of it and the tracking in one transaction."""
        with self.datastore.transaction(commit=True) as cursor:
            for table, entity in (("movie_statistics", movie_id), ("user_statistics", user_id)):
                cursor.execute(
                    f"INSERT INTO {table} AS s VALUES (%s, 1, %s) ON CONFLICT (id) DO UPDATE"
                    " SET count = s.count + 1, half_stars = s.half_stars + excluded.half_stars",
                    [entity, half_stars],
                    prepare=True,
                )
            cursor.execute(
                "INSERT INTO projected_ratings VALUES (%s, %s, %s) ON CONFLICT (user_id, movie_id)"
                " DO UPDATE SET half_stars = excluded.half_stars",
                [user_id, movie_id, half_stars],
                prepare=True,
            )
            self._insert_tracking(cursor, tracking)


class Statistics(Projection[StatisticsView]):
    """Records when it began and when it last wrote."""

    name = "statistics"
    began_at = 0.0
    wrote_at = 0.0

    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        self.began_at = self.began_at or time.perf_counter()
        self.view.add(
            domain_event.user_id, domain_event.movie_id, domain_event.half_stars, tracking
        )
        self.wrote_at = time.perf_counter()


def main() -> None:
    events = int(sys.argv[1])
    tune_collector()
    settings = environment(dsn())
    with FollowedRatings(settings) as app:
        last = app.save(*_ratings(events))[-1].notification.id
    with ProjectionRunner(
        application_class=FollowedRatings,
        projection_class=Statistics,
        view_class=StatisticsView,
        env=settings,
    ) as runner:
        runner.wait(last, timeout=TIMEOUT_S)
        projection = runner.projection
        assert isinstance(projection, Statistics)
        print(projection.wrote_at - projection.began_at)


def _ratings(count: int) -> list[Rating]:
    users = [uuid4() for _ in range(USERS)]
    movies = [uuid4() for _ in range(MOVIES)]
    pairs = random.sample([(user, movie) for user in users for movie in movies], count)
    return [Rating(user, movie, random.randint(1, 10), None) for user, movie in pairs]


if __name__ == "__main__":
    main()
