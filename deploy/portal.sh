#!/bin/bash
# Runs a command of the portal with the settings of /etc/portal, as the user portal. As root: deploy/portal.sh check
# The files owner.env and backup.env are read only for commands that need their roles. Variables that are already set are kept.
set -euo pipefail
umask 077
cd "$(dirname "$(readlink -f "$0")")/.."
folder=${SETTINGS_FOLDER:-/etc/portal}
user=${RUN_AS:-portal}

files=("$folder/portal.env")
case ${1:-} in
  upgrade | check) optional=(owner.env) ;;
  backup) optional=(backup.env) ;;
  restore) optional=(owner.env backup.env) ;;
  *) optional=() ;;
esac
for name in "${optional[@]}"; do
  if [ -e "$folder/$name" ]; then files+=("$folder/$name"); fi
done

# Read line by line, as systemd does, because a value may contain spaces.
for file in "${files[@]}"; do
  while IFS= read -r line || [ -n "$line" ]; do
    name=${line%%=*}
    if [[ $line == *=* && $name =~ ^[A-Z][A-Z0-9_]*$ && ! -v $name ]]; then
      export "$name=${line#*=}"
    fi
  done <"$file"
done

command=("${FLASK:-.venv/bin/flask}" --app wsgi "$@")
if [ "$(id -u)" = 0 ] && [ "$user" != root ]; then
  export HOME=/var/lib/portal
  exec setpriv --reuid "$user" --regid "$(id -g "$user")" --init-groups -- "${command[@]}"
fi
exec "${command[@]}"
