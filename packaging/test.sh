#!/usr/bin/env bash
# Tests what is in this directory, and the settings of proxies in docs/operations.md, with the
# real programs: the cross compiler and an emulator, systemd, promtool, nginx and Caddy. There
# is no container engine: what the Containerfile runs is run step by step.
set -euo pipefail
cd "$(dirname "$0")/.."
for tool in aarch64-linux-gnu-gcc qemu-aarch64-static file systemd-analyze promtool openssl caddy curl; do
  command -v "$tool" >/dev/null || { echo "packaging/test.sh needs $tool; .ci/run says from which package" >&2; exit 1; }
done
nginx=${NGINX:-/usr/sbin/nginx}

work=$(mktemp -d)
pids=()
finish() {
  ((${#pids[@]} == 0)) || kill "${pids[@]}" 2>/dev/null || true
  wait
  rm -rf "$work"
}
trap finish EXIT

say() { printf '\n--- %s\n' "$*"; }
fail() { echo "FAILED: $*" >&2; exit 1; }
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
# until_true SECONDS COMMAND…: repeats the command until it succeeds.
until_true() {
  local deadline=$((SECONDS + $1)); shift
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < deadline)) || { "$@" || true; fail "gave up waiting for: $*"; }
    sleep 0.1
  done
}

say "archives: the same bytes twice, also from another directory with another build cache"
export VERSION=v0.0.0-test SOURCE_DATE_EPOCH=1700000000
packaging/release.sh "$work/one"
packaging/release.sh "$work/two" >/dev/null
diff -r "$work/one" "$work/two"
(cd "$work/one" && sha256sum --check --quiet SHA256SUMS)
for arch in amd64 arm64; do
  tar --extract --gzip --file "$work/one/imapi_${VERSION}_linux_$arch.tar.gz" --directory "$work"
  dir=$work/imapi_${VERSION}_linux_$arch
  [[ $(find "$dir" -type f -printf '%f %m\n' | sort | tr '\n' ' ') == \
    'CHANGELOG.md 644 LICENSE 644 alerts.yml 644 grafana.json 644 imapi 755 imapi.service 644 imapi.sysusers 644 ' ]] || fail "contents of $dir"
  case $arch in amd64) is=x86-64 ;; arm64) is='ARM aarch64' ;; esac
  file "$dir/imapi" | grep -q "$is.*statically linked" || fail "$(file "$dir/imapi")"
done
bin=$work/imapi_${VERSION}_linux_amd64/imapi
[[ $("$bin" version) == "imapi $VERSION" ]] || fail "the version is $("$bin" version)"

say "Containerfile: the build, from what .containerignore leaves"
mkdir "$work/src"
mapfile -t kept < <(sed -n 's/^!//p' .containerignore)
git ls-files -z -- "${kept[@]}" ':!*_test.go' | tar --create --null --files-from=- | tar --extract --directory "$work/src"
(cd "$work/src" && GOCACHE=$work/cache packaging/build.sh "$work/built")
[[ $(uname -m) != x86_64 ]] || cmp "$work/built" "$bin"
rm -rf "$work/cache"

say "Containerfile: the image's user, variables, healthcheck and signal"
variable() { sed -n 's/^ENV //p' Containerfile | tr ' ' '\n' | sed -n "s/^$1=//p"; }
[[ $(variable IMAPI_DATA) == /data && $(variable IMAPI_LISTEN) == 0.0.0.0:8080 ]] || fail "the variables of the Containerfile"
user=$(sed -n 's/^USER \([0-9]*\):.*/\1/p' Containerfile)
port=$(free_port)
mkdir -m 0755 "$work/image"
install -m 0755 "$work/built" "$work/image/imapi"
install -d -m 0700 "$work/image/data"
drop=()
if ((EUID == 0)); then
  chown "$user:$user" "$work/image/data"
  chmod 0711 "$work"
  drop=(setpriv "--reuid=$user" "--regid=$user" --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all)
fi
# As in the image: nothing else in the environment, and no directory that it may write but its data.
image=("${drop[@]}" env -i -C / PATH=/usr/bin TMPDIR=/nonexistent "IMAPI_DATA=$work/image/data" "IMAPI_LISTEN=127.0.0.1:$port" "$work/image/imapi")
"${image[@]}" serve 2>"$work/image/log" >/dev/null &
server=$!
pids+=("$server")
until_true 60 "${image[@]}" healthcheck
[[ $("${image[@]}" healthcheck) == ready ]]
id=$("${image[@]}" send --as alice --to bob "from the image")
"${image[@]}" tail --as bob --to alice --follow=false | grep -q "alice: from the image" || fail "the message $id"
"${image[@]}" doctor --stream-wait 0 | tee "$work/image/doctor"
! grep -q FAILURE "$work/image/doctor" || fail "imapi doctor in the image"
began=$SECONDS
kill -TERM "$server"
wait "$server" || fail "exit status $? after SIGTERM: $(cat "$work/image/log")"
((SECONDS - began <= 10)) || fail "the shutdown took $((SECONDS - began)) s"
pids=()
status=0; "${image[@]}" healthcheck 2>/dev/null || status=$?
((status == 1)) || fail "the healthcheck of a stopped server has the status $status"

say "arm64: it serves, in an emulator"
arm=$work/imapi_${VERSION}_linux_arm64/imapi
port=$(free_port)
qemu-aarch64-static "$arm" serve --data "$work/arm" --listen "127.0.0.1:$port" >/dev/null 2>"$work/arm.log" &
pids+=($!)
until_true 120 "$bin" healthcheck --data "$work/arm" --timeout 30s
qemu-aarch64-static "$arm" send --data "$work/arm" --as alice --to bob "from the other architecture" >/dev/null
"$bin" tail --data "$work/arm" --as bob --to alice --follow=false | grep -q "from the other architecture"
kill "${pids[@]}"
wait "${pids[@]}" || fail "$(cat "$work/arm.log")"
pids=()

say "systemd"
sed "s|/usr/local/bin/imapi|$bin|" packaging/imapi.service >"$work/imapi.service"
verified=$(systemd-analyze verify --man=no "$work/imapi.service" 2>&1 | grep -F imapi.service || true)
[[ -z $verified ]] || fail "$verified"
# 0 is locked up, 10 is open.
systemd-analyze security --offline=true --threshold=15 "$work/imapi.service" | tail -n 1

say "Prometheus"
promtool check rules docs/alerts.yml
promtool test rules packaging/alerts_test.yml

say "nginx and Caddy, configured as in docs/operations.md"
port=$(free_port)
"$bin" serve --data "$work/data" --listen "127.0.0.1:$port" --trusted-proxies 127.0.0.1 >/dev/null 2>"$work/log" &
pids+=($!)
until_true 60 "$bin" healthcheck --data "$work/data"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=localhost -addext subjectAltName=DNS:localhost \
  -keyout "$work/key.pem" -out "$work/cert.pem" 2>/dev/null
export SSL_CERT_FILE=$work/cert.pem
block() { # block LANGUAGE NUMBER: a block of code of docs/operations.md
  awk -v begin="^\`\`\`$1\$" -v n="$2" '$0 ~ begin && ++seen == n { on = 1; next } /^```$/ { on = 0 } on' docs/operations.md
}
nginx_port=$(free_port); buffering_port=$(free_port); caddy_port=$(free_port)
mkdir "$work/nginx"
{
  echo "daemon off; worker_processes 1; pid $work/nginx/pid; error_log $work/nginx/log; events {}"
  echo "http { access_log off;"
  for kind in client_body proxy fastcgi uwsgi scgi; do echo "${kind}_temp_path $work/nginx/$kind;"; done
  block nginx 2 | sed "s|listen 443|listen 127.0.0.1:$nginx_port|; s|listen \[::\]:443.*||; s|/etc/ssl/im.example.com.pem|$work/cert.pem|; s|/etc/ssl/im.example.com.key|$work/key.pem|; s|127.0.0.1:8080|127.0.0.1:$port|; s|im.example.com|localhost|"
  # What happens without them.
  echo "server { listen 127.0.0.1:$buffering_port; location / { proxy_pass http://127.0.0.1:$port; proxy_ignore_headers X-Accel-Buffering; } }"
  echo "}"
} >"$work/nginx/nginx.conf"
grep -q "listen 127.0.0.1:$nginx_port ssl" "$work/nginx/nginx.conf" || fail "docs/operations.md has no server for nginx"
"$nginx" -p "$work/nginx" -e "$work/nginx/log" -c "$work/nginx/nginx.conf" &
pids+=($!)
{
  printf '{\n\tadmin off\n\tauto_https off\n}\n'
  block caddyfile 1 | sed "s|^im.example.com {|https://localhost:$caddy_port {\n\ttls $work/cert.pem $work/key.pem|; s|127.0.0.1:8080|127.0.0.1:$port|"
} >"$work/Caddyfile"
grep -q "https://localhost:$caddy_port" "$work/Caddyfile" || fail "docs/operations.md has no settings for Caddy"
HOME=$work/caddy XDG_DATA_HOME=$work/caddy XDG_CONFIG_HOME=$work/caddy caddy run --config "$work/Caddyfile" --adapter caddyfile 2>"$work/caddy.log" &
pids+=($!)
head -c 9000000 /dev/urandom >"$work/large.bin"
check_proxy() {
  local url=$1 out=$2
  until_true 60 curl -sSf -o /dev/null --cacert "$work/cert.pem" "$url/readyz"
  "$bin" doctor --data "$work/data" --as alice --server "$url" --stream-wait 40s >"$out" || { cat "$out"; fail "imapi doctor at $url"; }
  ! grep -q warning "$out" || { cat "$out"; fail "imapi doctor warns at $url"; }
  "$bin" send --data "$work/data" --server "$url" --as alice --to bob --file "$work/large.bin" >/dev/null || fail "9 MB through $url"
}
check_proxy "https://localhost:$nginx_port" "$work/doctor.nginx" &
one=$!
check_proxy "https://localhost:$caddy_port" "$work/doctor.caddy" &
two=$!
wait "$one"; wait "$two"
cat "$work/doctor.nginx"; echo; grep -E 'stream|heartbeat' "$work/doctor.caddy"
if "$bin" doctor --data "$work/data" --as alice --server "http://127.0.0.1:$buffering_port" >"$work/doctor.buffering"; then
  fail "imapi doctor does not notice an nginx that buffers"
fi
grep FAILURE "$work/doctor.buffering" | grep -q "a proxy buffers" || { cat "$work/doctor.buffering"; fail "another failure"; }
echo "and an nginx without these settings is found to buffer"

say "all passed in $SECONDS s"
