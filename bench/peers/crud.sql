-- The tables of the CRUD peer, with the indexes that its reads want.
CREATE TABLE users (
    user_id uuid PRIMARY KEY, display_name text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE movies (
    movie_id uuid PRIMARY KEY, title text NOT NULL, year integer NOT NULL, genres text[] NOT NULL,
    directors text[] NOT NULL, runtime_min integer
);
CREATE TABLE ratings (
    user_id uuid NOT NULL REFERENCES users, movie_id uuid NOT NULL REFERENCES movies,
    half_stars smallint NOT NULL, review text, rated_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, movie_id)
);
CREATE INDEX ratings_movie_idx ON ratings (movie_id) INCLUDE (half_stars);
