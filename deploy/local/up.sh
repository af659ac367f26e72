#!/usr/bin/env bash
# Runs a whole pool on this machine: a private Redis, one proxy, WORKERS workers. What dies is started again, unless it
# fails time after time before the pool has ever served; Ctrl-C or SIGTERM stops everything. `make up` builds the programs and calls this.
#
#   WORKERS                 workers to run (1)
#   REDIS_URL               use this Redis and start none
#   PWDIST_UP_HOST          address the pool listens on (127.0.0.1: this machine only)
#   PWDIST_UP_PORT          port the pool serves at (8080)
#   PWDIST_UP_ADMIN_PORT    the proxy's admin port (9090)
#   PWDIST_UP_WORKER_PORT   first worker's port, the next workers take the next ones (3131)
#   PWDIST_UP_WORKER_ADMIN_PORT  the same for the workers' admin ports (9191)
#   PWDIST_UP_REDIS_PORT    port of the private Redis (a free one)
#   PWDIST_UP_GRACE         seconds that a part gets to stop by itself before it is killed (5)
#   PWDIST_UP_PIDFILE_DIR   write <part>.pid files there
#
# Every other PWDIST_ variable goes to the services as it is, but for what is a setting of the other one only.
set -euo pipefail

die() {
	printf 'up: %s\n' "$*" >&2
	exit 1
}
((BASH_VERSINFO[0] >= 5)) || die "needs bash 5 or later, this is $BASH_VERSION (macOS: brew install bash)"

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
readonly root
readonly workers=${WORKERS:-1}
listens=${PWDIST_UP_HOST:-127.0.0.1}
[[ $listens != *:* || $listens == \[* ]] || listens="[$listens]" # an IPv6 address
readonly listens
readonly port=${PWDIST_UP_PORT:-8080}
readonly admin_port=${PWDIST_UP_ADMIN_PORT:-9090}
readonly worker_port=${PWDIST_UP_WORKER_PORT:-3131}
readonly worker_admin_port=${PWDIST_UP_WORKER_ADMIN_PORT:-9191}
readonly grace=${PWDIST_UP_GRACE:-5}
readonly pidfile_dir=${PWDIST_UP_PIDFILE_DIR:-}
redis_port=${PWDIST_UP_REDIS_PORT:-}
own_redis=yes
[[ -z ${PWDIST_REDIS__URL:-}${REDIS_URL:-} ]] || own_redis=no

# What comes out here is read by people, and by the prefixes no longer JSON lines.
[[ -n ${PWDIST_LOG__FORMAT:-}${LOG_FORMAT:-} ]] || export PWDIST_LOG__FORMAT=console

# These are for this script; a service would warn that it does not know them.
[[ -z ${!PWDIST_UP_@} ]] || export -n "${!PWDIST_UP_@}"

readonly backoff_first_ms=100 backoff_last_ms=2000
readonly healthy_ms=10000     # who lived this long starts over with the shortest back-off
readonly failures_allowed=5    # in a row, before the pool has served: this is no mishap but a machine that lacks something
readonly instant_exit_ms=1000 # a clean exit sooner than this is no recycling but a fault that would spin

# Whoever reads our output may be gone, for example a tee that got the same Ctrl-C. That is no reason to stop half way.
say() { printf '%-8s | %s\n' up "$*" 2>/dev/null || true; }
now_ms() { printf '%d' "$((${EPOCHREALTIME//[!0-9]/} / 1000))"; }

# ---------------------------------------------------------------- checks before anything starts

is_number() { [[ $1 =~ ^[0-9]{1,5}$ ]]; }
# An address that is not this machine's may not answer at all.
briefly=()
! command -v timeout >/dev/null || briefly=(timeout 2)
# shellcheck disable=SC2016 # it is the inner shell that expands them
is_listening() { "${briefly[@]}" bash -c 'exec 3<>"/dev/tcp/$0/$1"' "$1" "$2" 2>/dev/null; }

check_settings() {
	{ is_number "$workers" && ((10#$workers >= 1)); } || die "WORKERS=$workers: give a whole number, 1 or more"
	is_number "$grace" || die "PWDIST_UP_GRACE=$grace: give whole seconds"

	claim PWDIST_UP_PORT "$port"
	claim PWDIST_UP_ADMIN_PORT "$admin_port"
	local i
	for ((i = 0; i < workers; i++)); do
		claim PWDIST_UP_WORKER_PORT "$worker_port" "$i"
		claim PWDIST_UP_WORKER_ADMIN_PORT "$worker_admin_port" "$i"
	done
	if [[ $own_redis == yes && -n $redis_port ]]; then claim PWDIST_UP_REDIS_PORT "$redis_port"; fi
}

# The host by which this machine's clients reach the pool.
case $listens in
	127.0.0.1 | localhost | 0.0.0.0 | '[::]') endpoint=localhost ;;
	*) endpoint=$listens ;;
esac
readonly endpoint

# claim VARIABLE BASE [OFFSET]: fails with one line unless the port is free and nobody else of ours wants it.
declare -A claimed=()
claim() {
	local variable=$1 base=$2 offset=${3:-0} wanted
	is_number "$base" || die "$variable=$base: give a port number"
	wanted=$((10#$base + offset))
	((wanted >= 1 && wanted <= 65535)) || die "$variable=$base: port $wanted is outside 1 to 65535"
	[[ -z ${claimed[$wanted]:-} ]] ||
		die "port $wanted is wanted twice, by ${claimed[$wanted]} and $variable: set one of them to another port"
	claimed[$wanted]=$variable
	local address addresses=(127.0.0.1)
	if [[ $variable == PWDIST_UP_PORT ]]; then
		addresses=("${endpoint//[][]/}")
		# A server on ::1 alone would not be in the way of ours, but it would answer for localhost in its place.
		[[ $endpoint != localhost ]] || addresses=(127.0.0.1 ::1)
	fi
	for address in "${addresses[@]}"; do
		! is_listening "$address" "$wanted" ||
			die "port $wanted is in use: set $variable to a free one, for example $variable=$((wanted + 1000))"
	done
}

# Below the range that the system gives to outgoing connections, so that a restart of Redis finds its port free.
find_free_port() {
	local candidate
	for _ in {1..50}; do
		candidate=$((20000 + RANDOM % 10000))
		if [[ -z ${claimed[$candidate]:-} ]] && ! is_listening 127.0.0.1 "$candidate"; then
			printf '%d' "$candidate"
			return
		fi
	done
	die "found no free port for Redis: set PWDIST_UP_REDIS_PORT"
}

# A wrong setting is one line now rather than a service that starts over and over.
check_config() {
	local part
	for part in proxy worker1; do
		describe "$part"
		local out
		if ! out=$(env "${vars[@]}" "${cmd[@]}" --check-config 2>&1); then
			printf '%s\n' "$out" >&2
			die "the configuration is wrong; nothing was started"
		fi
	done
}

# ---------------------------------------------------------------- the parts

# settings PROGRAM: the variables that are its settings.
settings() { "$root/bin/pwdist-$1" --help | sed -n 's/^      env \([A-Z0-9_, ]*\).*/\1/p' | tr -d ' ' | tr ',' '\n'; }

# Each service warns of a variable that it does not know, which those are that the user means for the other one.
declare -A foreign=()
tell_apart() {
	local name known_to
	declare -A known_to=()
	for name in $(settings proxy); do known_to[$name]+=proxy; done
	for name in $(settings worker); do known_to[$name]+=worker; done
	for name in "${!PWDIST_@}"; do
		case ${known_to[$name]:-} in
			proxy) foreign[worker]+=" -u $name" ;;
			worker) foreign[proxy]+=" -u $name" ;;
		esac
	done
}

# describe PART: sets cmd, the command that runs it, and vars, what `env` makes of the user's environment for it.
describe() {
	local part=$1 i
	read -r -a vars <<<"${foreign[${part%%[0-9]*}]:-}" || true
	[[ $own_redis == no ]] || vars+=("PWDIST_REDIS__URL=redis://127.0.0.1:$redis_port")
	case $part in
		redis)
			vars=()
			cmd=(redis-server "$root/deploy/local/redis.conf" --port "$redis_port" --dir "$run/redis")
			;;
		proxy)
			vars+=("PWDIST_LISTEN=$listens:$port" "PWDIST_ADMIN__LISTEN=127.0.0.1:$admin_port")
			cmd=("$root/bin/pwdist-proxy")
			;;
		worker*)
			i=$((${part#worker} - 1))
			vars+=(
				"PWDIST_LISTEN=127.0.0.1:$((worker_port + i))"
				"PWDIST_ADVERTISE=127.0.0.1:$((worker_port + i))"
				"PWDIST_ADMIN__LISTEN=127.0.0.1:$((worker_admin_port + i))"
				"PWDIST_PLAYWRIGHT__DIR=${PWDIST_PLAYWRIGHT__DIR:-$root/services/worker/playwright}"
			)
			cmd=("$root/bin/pwdist-worker")
			;;
	esac
}

# What Redis says at every start and stop, also at its quietest. Its advice on memory is about snapshots, which are
# off here.
readonly routine='# (oO0OoO0|Redis version=|Configuration loaded|Server initialized|WARNING Memory overcommit)|'\
'signal-handler|# User requested shutdown|# Redis is now ready to exit'

declare -A pid=() born=() log=() due=() backoff=() failures=()
announced=no hopeless=

start() {
	local part=$1 out
	describe "$part"
	unset "due[$part]"

	# A fresh folder for temporary files: what a killed browser left in the old one goes with it.
	rm -rf "${run:?}/$part"
	mkdir "$run/$part"
	vars+=("TMPDIR=$run/$part" "$mark=$run/$part")

	# The log reader must outlive a Ctrl-C, or the last lines of a service are lost and the service dies of SIGPIPE.
	exec {out}> >(trap '' INT TERM HUP && exec sed -u -E -e "/$routine/d" -e "1,200w $run/$part.said" -e "s/^/$(printf '%-8s' "$part") | /")
	log[$part]+="$! "
	# Job control gives it a process group of its own: a Ctrl-C at the terminal then reaches only this script, which
	# stops the parts in order.
	set -m
	env "${vars[@]}" "${die_with_us[@]}" "${cmd[@]}" </dev/null >&"$out" 2>&1 {out}>&- &
	pid[$part]=$!
	set +m
	exec {out}>&-
	born[$part]=$(now_ms)
	write_pidfile "$part" "${pid[$part]}"
}

write_pidfile() {
	[[ -n $pidfile_dir ]] || return 0
	printf '%d\n' "$2" >"$pidfile_dir/.$1.pid"
	mv "$pidfile_dir/.$1.pid" "$pidfile_dir/$1.pid"
}

remove_pidfile() { [[ -z $pidfile_dir ]] || rm -f "$pidfile_dir/$1.pid"; }

is_alive() { [[ -n ${pid[$1]:-} ]] && kill -0 "${pid[$1]}" 2>/dev/null; }

# bury PART: collects the status of a part that has ended and kills what it left running.
bury() {
	local part=$1
	status=0
	if is_alive "$part" || ! thinks_it_runs "${pid[$part]}"; then wait "${pid[$part]}" 2>/dev/null || status=$?; fi
	kill -KILL -- "-${pid[$part]}" 2>/dev/null || true
	sweep "$run/$part"
	unset "pid[$part]"
	remove_pidfile "$part"
}

# A signal that interrupts bash while it collects a child makes it forget that this child has ended. To wait for such
# a one is to wait forever.
thinks_it_runs() { [[ " $(jobs -rp | tr '\n' ' ')" == *" $1 "* ]]; }

# sweep MARK: kills processes that carry this mark in their environment. A browser starts in a process group of its
# own, so after the death of its worker nothing else tells whose it was.
sweep() {
	[[ -d /proc/self ]] || return 0
	local file leftover
	while IFS= read -r file; do
		leftover=${file#/proc/}
		kill -KILL "${leftover%/environ}" 2>/dev/null || true
	done < <(grep -lszFe "$mark=$1" /proc/[0-9]*/environ 2>/dev/null)
}

how_it_ended() {
	if ((status == 0)); then
		printf 'ended by itself'
	elif ((status > 128)); then
		printf 'was killed by SIG%s' "$(kill -l $((status - 128)))"
	else
		printf 'failed with exit status %d' "$status"
	fi
}

# A part that ended: says so and sets when it starts again.
plan_restart() {
	local part=$1 lived delay
	bury "$part"
	lived=$(($(now_ms) - born[$part]))
	((lived < healthy_ms)) || backoff[$part]=$backoff_first_ms
	# Killed by a signal is what somebody did to it.
	failures[$part]=$((status > 0 && status <= 128 && lived < healthy_ms ? ${failures[$part]:-0} + 1 : 0))
	if [[ $announced == no ]] && ((failures[$part] >= failures_allowed)); then
		say "$part $(how_it_ended)"
		hopeless=$part
		return
	fi
	if ((status == 0 && lived >= instant_exit_ms)); then
		delay=0
		say "$part $(how_it_ended), starting a fresh one"
	else
		delay=${backoff[$part]:-$backoff_first_ms}
		backoff[$part]=$((delay * 2 < backoff_last_ms ? delay * 2 : backoff_last_ms))
		say "$part $(how_it_ended), starts again in $((delay / 1000)).$((delay % 1000 / 100)) s"
	fi
	due[$part]=$(($(now_ms) + delay))
}

# give_up PART: says what a part said last that fails whenever it is started.
give_up() {
	read_out "$1"
	printf 'up: giving up, as %s failed %d times in a row as soon as it was started. It said last:\n' "$1" "$failures_allowed" >&2
	tail -n 5 "$run/$1.said" >&2
}

# read_out PART...: waits for the last lines of parts that have ended, which are on their way through the log readers.
read_out() {
	local part reader readers=() deadline=$(($(now_ms) + 1000))
	for part in "$@"; do read -r -a readers <<<"${readers[*]} ${log[$part]:-}" || true; done
	for reader in "${readers[@]}"; do
		while kill -0 "$reader" 2>/dev/null && (($(now_ms) < deadline)); do sleep 0.02; done
	done
}

# ---------------------------------------------------------------- readiness

# is_ready ADMIN_PORT: whether GET /readyz answers 200.
is_ready() {
	local code
	code=$( (
		exec 3<>"/dev/tcp/127.0.0.1/$1"
		printf 'GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n' >&3
		read -r -t 2 _ code _ <&3
		printf '%s' "$code"
	) 2>/dev/null) && [[ $code == 200 ]]
}

redis_answers() {
	local reply
	reply=$( (
		exec 3<>"/dev/tcp/127.0.0.1/$redis_port"
		printf 'PING\r\n' >&3
		read -r -t 2 reply <&3
		printf '%s' "$reply"
	) 2>/dev/null) && [[ $reply == +PONG* ]]
}

pool_is_ready() {
	local i
	is_ready "$admin_port" || return
	for ((i = 0; i < workers; i++)); do
		is_ready $((worker_admin_port + i)) || return
	done
}

# Prints that the pool serves, and what can be done with it.
announce() {
	local slots tail='bin/pwdist-events tail'
	# It takes a Redis of the user's from the same variable, whose value may hold a password.
	[[ $own_redis == no ]] || tail+=" --redis redis://127.0.0.1:$redis_port"
	[[ -z ${PWDIST_POOL:-} ]] || tail+=" --pool $PWDIST_POOL"
	slots=$(worker_slots)
	printf '\nplaywright-distributed serves at ws://%s:%s\n' "$endpoint" "$port"
	[[ -z $slots ]] || printf '  sessions at once   %d (workers: %d, slots of each: %d)\n' $((workers * slots)) "$workers" "$slots"
	printf '  metrics            http://127.0.0.1:%s/metrics\n' "$admin_port"
	printf '  watch sessions     %s\n' "$tail"
	printf '  stop               Ctrl-C\n\n'
}

worker_slots() {
	describe worker1
	env "${vars[@]}" "${cmd[@]}" --print-config 2>/dev/null | sed -n 's/^slots: *\([0-9]*\).*/\1/p' || true
}

# ---------------------------------------------------------------- waiting and stopping

# This one never runs. It keeps bash from reporting a killed part in its own words, beside ours.
# shellcheck disable=SC2173
trap : KILL

stops_asked=0
trap 'stops_asked=$((stops_asked + 1))' INT TERM HUP
trap 'stops_asked=$((stops_asked ? stops_asked : 1))' PIPE

# pause MS: until a part ends, a signal comes or the time is over. The time bounds what bash can miss: a child that
# ends, or a signal that comes, just before the wait begins does not wake it.
pause() {
	local alarm
	sleep "$(($1 / 1000)).$(printf '%03d' $(($1 % 1000)))" &
	alarm=$!
	wait -n "${pid[@]}" "$alarm" 2>/dev/null || true
	kill "$alarm" 2>/dev/null || true
}

# stop PART...: asks them all to stop, and kills who has not within the grace or before the user's patience ends.
stop() {
	local part deadline
	for part in "$@"; do
		! is_alive "$part" || kill -TERM "${pid[$part]}" 2>/dev/null || true
	done
	deadline=$(($(now_ms) + grace * 1000))
	while any_alive "$@" && (($(now_ms) < deadline && stops_asked < 2)); do pause 200; done
	for part in "$@"; do
		[[ -n ${pid[$part]:-} ]] || continue
		if is_alive "$part"; then
			say "$part is still running, killing it"
			kill -KILL "${pid[$part]}" 2>/dev/null || true
		fi
		bury "$part"
	done
}

any_alive() {
	local part
	for part in "$@"; do
		! is_alive "$part" || return 0
	done
	return 1
}

# On every way out, also when a command of this script failed: nothing of ours stays behind.
clean_up() {
	trap '' INT TERM HUP PIPE
	local part
	for part in "${!pid[@]}"; do
		kill -KILL "${pid[$part]}" 2>/dev/null || true
		bury "$part"
	done
	read_out "${!log[@]}"
	remove_pidfile up
	rm -rf "$run" || true
}

# ---------------------------------------------------------------- the run

for program in pwdist-proxy pwdist-worker; do
	[[ -x $root/bin/$program ]] || die "bin/$program is missing: run make build"
done
check_settings
if [[ $own_redis == yes ]]; then
	command -v redis-server >/dev/null || die "redis-server is missing: run make install, or set REDIS_URL"
	[[ -n $redis_port ]] || redis_port=$(find_free_port)
fi

run=$(mktemp -d "${TMPDIR:-/tmp}/pwdist-up.XXXXXX")
readonly run mark=PLAYWRIGHT_DISTRIBUTED_UP
trap clean_up EXIT
tell_apart
check_config

# Should this script be killed with SIGKILL, the kernel ends its children, where it can.
die_with_us=()
if setpriv --pdeathsig KILL true 2>/dev/null; then die_with_us=(setpriv --pdeathsig KILL); fi

if [[ -n $pidfile_dir ]]; then
	mkdir -p "$pidfile_dir"
	write_pidfile up $$
fi

services=()
for ((n = 1; n <= workers; n++)); do services+=("worker$n"); done
services+=(proxy)
parts=("${services[@]}")

if [[ $own_redis == yes ]]; then
	parts=(redis "${services[@]}")
	start redis
	redis_deadline=$(($(now_ms) + 10000))
	until redis_answers; do
		((stops_asked == 0)) || exit 0
		is_alive redis || die "redis-server does not start, see above"
		(($(now_ms) < redis_deadline)) || die "redis-server does not answer on port $redis_port"
		pause 50
	done
fi
for part in "${services[@]}"; do start "$part"; done

tick=200
while ((stops_asked == 0)) && [[ -z $hopeless ]]; do
	for part in "${parts[@]}"; do
		if [[ -n ${pid[$part]:-} ]]; then
			is_alive "$part" || plan_restart "$part"
		fi
		if [[ -n ${due[$part]:-} ]] && (($(now_ms) >= due[$part])); then start "$part"; fi
	done
	if [[ $announced == no ]] && pool_is_ready; then
		announce 2>/dev/null || true
		announced=yes
		tick=1000
	fi
	wait_ms=$tick
	for part in "${!due[@]}"; do
		left=$((due[$part] - $(now_ms)))
		((left >= wait_ms)) || wait_ms=$((left > 10 ? left : 10))
	done
	((stops_asked > 0)) || [[ -n $hopeless ]] || pause "$wait_ms"
done

[[ -z $hopeless ]] || give_up "$hopeless"
say "stopping (again Ctrl-C: at once)"
stop proxy
stop "${services[@]}"
[[ $own_redis == no ]] || stop redis
say "stopped"
[[ -z $hopeless ]]
