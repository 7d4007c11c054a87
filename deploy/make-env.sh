#!/bin/sh
# Makes .env of .env.example, with a new secret wherever that has none: sh deploy/make-env.sh [file]
# For its owner alone to read, and never over one that is there: whatever was sealed with that would be lost.
set -euC
umask 077
cd "$(dirname "$0")/.."
file=${1:-.env}
if [ -e "$file" ]; then
  echo "make-env: $file is there already, and its secrets are in use. Move it away if you want others." >&2
  exit 1
fi
command -v openssl > /dev/null || { echo 'make-env: it takes openssl to make secrets' >&2; exit 1; }
text=$(
  while IFS= read -r line; do
    case $line in
      MILLRACE_SECRET_KEY=) secret=$(openssl rand -base64 32) ;;
      [A-Z]*=) secret=$(openssl rand -hex 32) ;;
      *) secret= ;;
    esac
    printf '%s%s\n' "$line" "$secret"
  done < .env.example
)
printf '%s\n' "$text" > "$file"
