-- Keys rated for any user with the scope `users`. The scope `ratings` now says so, for external users alone; keys
-- that could before still can. A key that only makes users is better made again without it.
UPDATE service_keys SET scopes = array_append(scopes, 'ratings')
WHERE 'users' = ANY (scopes) AND NOT 'ratings' = ANY (scopes);
