#!/bin/sh
# Start PostgreSQL in its container. `python -m ops.compose.init secrets` issues this file to it.
#
# initdb works in a draft that takes the data folder's name once it is complete, so that a kill at
# any moment leaves either a complete cluster or a draft. The log is in a database of its own, and
# PostgreSQL numbers the databases that users create from 16384: a data folder without one is what
# an interrupted first start left, and holds no event.
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
  echo "starfold: $PGDATA is of an interrupted first start and holds no event; it is made again" >&2
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

# Without room PostgreSQL ends again and again, and Docker would wait a minute between two starts.
waited=
while [ "$(room_kib)" -lt "$room_kib_min" ]; do
  [ -n "$waited" ] || echo "starfold: no room on the disk of ${PGDATA%/*}; waiting for 32 MiB" >&2
  waited=yes
  sleep 1
done
exec postgres -c "listen_addresses=*" "$@"
