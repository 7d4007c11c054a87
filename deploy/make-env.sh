#!/bin/sh
# Prints .env.example with a new secret wherever it has none: sh deploy/make-env.sh > .env
set -eu
umask 077
cd "$(dirname "$0")/.."
while IFS= read -r line; do
  case $line in
    MILLRACE_SECRET_KEY=) echo "$line$(openssl rand -base64 32)" ;;
    [A-Z]*=) echo "$line$(openssl rand -hex 32)" ;;
    *) echo "$line" ;;
  esac
done < .env.example
