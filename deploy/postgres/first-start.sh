#!/bin/bash
# Run once by the image of PostgreSQL, when its volume is empty: creates the roles and the database, and allows a replica.
set -euo pipefail
psql -v ON_ERROR_STOP=1 --quiet --username "${POSTGRES_USER:-postgres}" --dbname postgres \
  -v owner="$PORTAL_OWNER_PASSWORD" -v app="$PORTAL_APP_PASSWORD" -v backup="$PORTAL_BACKUP_PASSWORD" \
  -v replication="$PORTAL_REPLICATION_PASSWORD" --file "${ROLES_SQL:-/roles.sql}"
echo "host replication portal_replication all scram-sha-256" >>"$PGDATA/pg_hba.conf"
