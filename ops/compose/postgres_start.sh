#!/bin/sh
# Start PostgreSQL in its container, to which `python -m ops.compose.init secrets` issues this file.
#
# initdb writes to a draft, which is renamed to the data folder once it is complete, so that a kill
# at any moment leaves either a complete cluster or a draft. The log has its own database, and
# PostgreSQL numbers user-created databases from 16384: a data folder without one comes from an
# interrupted first start and holds no event.
set -eu

draft=$PGDATA.draft
room_kib_min=32768

has_database() {
  for folder in "$PGDATA"/base/*; do
    case ${folder##*/} in
      *[!0-9]*) ;;
      *) [ "${folder##*/}" -ge 16384 ] && return 0 ;;
    esac
  done
  return 1
}

room_kib() {
  df -Pk "${PGDATA%/*}" | awk 'NR == 2 { print $4 }'
}

rm -rf "$draft"
if [ -e "$PGDATA" ] && ls "$PGDATA" > /dev/null && ! has_database; then
  echo "starfold: $PGDATA comes from an interrupted first start and is empty; creating it again" >&2
  rm -rf "$PGDATA"
fi
if [ ! -e "$PGDATA" ]; then
  mkdir -p "${PGDATA%/*}"
  initdb -D "$draft" -U starfold_owner --pwfile=/etc/starfold/password --auth=scram-sha-256 \
    --encoding=UTF8 --locale=C --data-checksums > /dev/null
  echo 'host all all all scram-sha-256' >> "$draft/pg_hba.conf"
  sync
  mv "$draft" "$PGDATA"
fi

# On a full disk PostgreSQL would exit again and again, and Docker would back off for a minute.
waited=
while [ "$(room_kib)" -lt "$room_kib_min" ]; do
  [ -n "$waited" ] || echo "starfold: the disk of ${PGDATA%/*} is full; waiting for 32 MiB" >&2
  waited=yes
  sleep 1
done
exec postgres -c "listen_addresses=*" "$@"
