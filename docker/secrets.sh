#!/bin/sh
# Makes the secrets that are missing, each a file in docker/secrets; what is there is never changed.
#   sh docker/secrets.sh
# The files are readable by all because a container's user is none of this machine; the folder keeps others out.
set -eu
umask 077
cd "$(dirname "$0")"
mkdir -p secrets
random() { LC_ALL=C tr -dc 'A-Za-z0-9' </dev/urandom | head -c 48; }
for name in secret_key encryption_keys postgres_password redis_password flower_password rabbitmq_password grafana_password; do
  [ -s "secrets/$name" ] || random >"secrets/$name"
done
[ -s secrets/broker_url ] || printf 'amqp://app:%s@rabbitmq:5672//' "$(cat secrets/rabbitmq_password)" >secrets/broker_url
chmod 0444 secrets/*
chmod 0700 secrets
