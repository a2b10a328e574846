#!/bin/bash
# Starts a read replica. The first time it copies the primary, which takes as long as copying its files does.
set -euo pipefail
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  # a copy that was interrupted has no PG_VERSION, and pg_basebackup wants an empty folder
  find "$PGDATA" -mindepth 1 -delete
  PGPASSWORD=$PORTAL_REPLICATION_PASSWORD pg_basebackup --host "$PORTAL_PRIMARY_HOST" --port "${PORTAL_PRIMARY_PORT:-5432}" \
    --username portal_replication --pgdata "$PGDATA" --wal-method stream --checkpoint fast --write-recovery-conf
  chmod 700 "$PGDATA"
  # Debian keeps these files in /etc/postgresql, so its copy has none of them
  for name in postgresql.conf pg_ident.conf; do
    [ -e "$PGDATA/$name" ] || : >"$PGDATA/$name"
  done
  if [ ! -e "$PGDATA/pg_hba.conf" ]; then
    printf '%s\n' 'local all postgres peer' 'host portal portal_app all scram-sha-256' >"$PGDATA/pg_hba.conf"
  fi
fi
exec postgres -D "$PGDATA" -c hot_standby=on -c hot_standby_feedback=on "$@"
