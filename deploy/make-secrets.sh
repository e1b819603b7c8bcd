#!/bin/sh
# Makes the secrets of docker-compose.yml's production in the folder secrets/, and keeps those that are there.
# Containers of several users read the files, so what protects them is the folder.
set -eu
umask 022
mkdir -p secrets
chmod 700 secrets
cd secrets

password() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

for user in platform worker operator setup monitor postgres; do
  [ -s "$user-password" ] || password > "$user-password"
done
for user in worker operator setup; do
  [ -s "$user-broker-url" ] || printf 'amqp://%s:%s@rabbitmq:5672/' "$user" "$(cat "$user-password")" > "$user-broker-url"
done
[ -s database-url ] || printf 'postgresql://phin:%s@postgres:5432/phin' "$(cat postgres-password)" > database-url

if [ ! -s seal-keys ]; then
  ${PHIN_CONNECTWISE:-docker run --rm phin-connectwise} keys generate > new-key
  sed -n 's/^PHIN_CONNECTWISE_SEAL_KEYS=//p' new-key > seal-keys
  tail -n 1 new-key | sed 's/^# /The public seal key, for the platform: /'
  rm new-key
fi
