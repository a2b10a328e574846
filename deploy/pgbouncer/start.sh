#!/bin/sh
# Writes the password where PgBouncer reads it, in memory, and starts it.
set -eu
umask 077
printf '"portal_app" "%s"\n' "$PORTAL_APP_PASSWORD" >/run/pgbouncer/userlist.txt
unset PORTAL_APP_PASSWORD
exec pgbouncer /etc/pgbouncer/pgbouncer.ini
