#!/usr/bin/env bash
# Makes sure that what the pool needs on this machine is there, and installs only what is missing.
#
#   deploy/local/install.sh [redis] [node] [playwright] [browser] [cc] [clients-node] [clients-python] [haproxy] [valgrind]
#
# Without arguments: redis node playwright browser, which is what running a pool takes; the browser comes after
# playwright, which names the builds that fit it. On Debian and Ubuntu, as
# root or with sudo, missing programs come from apt-get; elsewhere every missing one is named together with the way
# to get it, and the exit status is 1. Node packages are installed below the repository, never system-wide.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
readonly root
readonly redis_major_needed=7 node_major_needed=20
readonly playwright_dir=${PWDIST_PLAYWRIGHT__DIR:-$root/services/worker/playwright}

missing=()

say() { printf 'install: %s\n' "$*" >&2; }
lacks() { missing+=("$*"); }
have() { command -v "$1" >/dev/null 2>&1; }

# ---------------------------------------------------------------- Debian packages

can_apt() { have apt-get && have dpkg && { [[ $(id -u) == 0 ]] || can_sudo; }; }

# Asking for a password is fine at a terminal and would hang a script.
can_sudo() { have sudo && { sudo -n true 2>/dev/null || { [[ -t 0 ]] && sudo -v; }; }; }

as_root() {
	if [[ $(id -u) == 0 ]]; then "$@"; else sudo "$@"; fi
}

apt_updated=no
apt_update() {
	[[ $apt_updated == no ]] || return 0
	apt_updated=yes
	say "apt-get update"
	as_root apt-get update -qq >/dev/null || say "apt-get update failed; going on with the package lists that are here"
}

# Prints the version that apt-get would install, or nothing.
apt_candidate() {
	apt-cache policy "$1" 2>/dev/null | sed -n 's/^  Candidate: //p' | grep -v '^(none)$' || true
}

# Succeeds when apt has the package; a machine whose package lists were never fetched gets them first.
apt_has() {
	can_apt || return 1
	[[ -n $(apt_candidate "$1") ]] || apt_update
	[[ -n $(apt_candidate "$1") ]]
}

apt_install() {
	say "apt-get install $*"
	local log
	log=$(mktemp)
	if ! try_apt "$@" >"$log" 2>&1; then
		# Package lists that are older than the mirror name files it no longer has.
		apt_update
		if ! try_apt "$@" >"$log" 2>&1; then
			tail -n 20 "$log" >&2
			rm -f "$log"
			return 1
		fi
	fi
	rm -f "$log"
}

try_apt() {
	as_root env DEBIAN_FRONTEND=noninteractive \
		apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=120 "$@"
}

# ---------------------------------------------------------------- what a pool needs

need_redis() {
	have_redis && return
	local candidate
	if apt_has redis-server; then
		candidate=$(apt_candidate redis-server)
		candidate=${candidate#*:} # an epoch
		if [[ ${candidate%%.*} =~ ^[0-9]+$ ]] && ((${candidate%%.*} >= redis_major_needed)); then
			if apt_install redis-server && have_redis; then return; fi
		fi
	fi
	lacks "redis-server $redis_major_needed.0 or later$(redis_found): install your system's Redis package where it is new enough" \
		"(Debian 12 or later, Ubuntu 24.04 or later: apt-get install redis-server; macOS: brew install redis), else the one of" \
		"Redis' own makers, or set REDIS_URL to a Redis that you already run"
}

have_redis() {
	local major
	major=$(redis_version)
	major=${major%%.*}
	[[ $major =~ ^[0-9]+$ ]] && ((major >= redis_major_needed))
}

redis_version() { if have redis-server; then redis-server --version | sed -n 's/.* v=\([^ ]*\).*/\1/p'; fi; }

redis_found() {
	local version
	version=$(redis_version)
	[[ -z $version ]] || printf ' (found %s)' "$version"
}

need_browser() {
	have_browser && return
	local package packages=(chromium-headless-shell chromium)
	is_headless || packages=(chromium)
	for package in "${packages[@]}"; do
		# Ubuntu's chromium is an empty package that hands over to snap, which containers do not have.
		if apt_has "$package" && [[ $(apt_candidate "$package") != *snap* ]]; then
			if apt_install "$package" && have_browser; then return; fi
		fi
	done
	local playwright_says=''
	if can_apt && [[ -r $playwright_dir/node_modules/playwright-core/cli.js ]] && have_node; then
		say "Playwright's own Chromium, as this system has no package of one"
		if playwright_install && have_browser; then return; fi
		playwright_says=' (which failed just now: see above, and whether this machine reaches the Internet)'
	fi
	lacks "a Chromium: install your system's (Debian: apt-get install ${packages[0]}), or Google Chrome, or Playwright's" \
		"own with 'node $playwright_dir/node_modules/playwright-core/cli.js install --with-deps $(playwright_which)'$playwright_says," \
		"or set PWDIST_BROWSER__EXECUTABLE to one that you have"
}

# What Playwright's installer is to install.
playwright_which() { if is_headless; then printf '%s' '--only-shell chromium'; else printf '%s' '--no-shell chromium'; fi; }

# It asks for root by itself for the libraries that its browser needs, and leaves builds of other versions alone.
playwright_install() {
	local which
	read -r -a which <<<"$(playwright_which)"
	node "$playwright_dir/node_modules/playwright-core/cli.js" install --with-deps --no-remove --no-progress "${which[@]}" >&2
}

# How the worker spells and reads the setting (parseBool in shared/config): it has headless browsers unless told otherwise.
is_headless() {
	local setting=${PWDIST_BROWSER__HEADLESS:-${HEADLESS:-true}}
	case ${setting,,} in false | no | off | 0) return 1 ;; esac
}

# What the worker accepts, in services/worker/internal/browser/find.go.
have_browser() {
	# A path or a channel of the user's own, or another browser than Chromium: the worker itself checks those and says
	# what is wrong.
	[[ -z ${PWDIST_BROWSER__EXECUTABLE:-}${PWDIST_BROWSER__CHANNEL:-} ]] || return 0
	[[ ${PWDIST_BROWSER__TYPE:-${BROWSER_TYPE:-chromium}} == chromium ]] || return 0
	local name names=(chromium chromium-browser google-chrome google-chrome-stable)
	! is_headless || names+=(chromium-headless-shell)
	for name in "${names[@]}"; do
		! have "$name" || return 0
	done
	have_playwright_build
}

# Only builds that the pinned playwright-core was made for, and only those whose installation came to its end.
have_playwright_build() {
	local core=$playwright_dir/node_modules/playwright-core builds=${PLAYWRIGHT_BROWSERS_PATH:-} folder builds_of=chromium
	[[ -r $core/browsers.json ]] && have_node || return 1
	! is_headless || builds_of+=,chromium-headless-shell
	case $builds in
		'') builds=${XDG_CACHE_HOME:-$HOME/.cache}/ms-playwright ;;
		0) builds=$core/.local-browsers ;;
	esac
	while IFS= read -r folder; do
		[[ ! -e $builds/$folder/INSTALLATION_COMPLETE ]] || return 0
	done < <(node -e '
		const [file, names] = process.argv.slice(1);
		for (const b of JSON.parse(require("fs").readFileSync(file)).browsers)
			if (names.split(",").includes(b.name))
				for (const revision of [b.revision, ...Object.values(b.revisionOverrides ?? {})])
					console.log(b.name.replaceAll("-", "_") + "-" + revision);
	' "$core/browsers.json" "$builds_of")
	return 1
}

need_node() {
	have_node && have npm && return
	local packages=()
	if ! have_node; then
		local candidate
		if apt_has nodejs; then candidate=$(apt_candidate nodejs); else candidate=; fi
		candidate=${candidate#*:} # an epoch
		if [[ ${candidate%%.*} =~ ^[0-9]+$ ]] && ((${candidate%%.*} >= node_major_needed)); then
			packages+=(nodejs)
		else
			lacks "Node.js $node_major_needed or later$(node_found): install it from nodejs.org or with a version manager" \
				"(the package of this system is missing or too old)"
			return 0
		fi
	fi
	have npm || packages+=(npm)
	if can_apt && apt_install "${packages[@]}" && have_node && have npm; then return; fi
	lacks "Node.js $node_major_needed or later with npm$(node_found): install it from nodejs.org or with a version manager"
}

have_node() {
	have node && (($(node -p 'process.versions.node.split(".")[0]') >= node_major_needed))
}

node_found() {
	if have node; then printf ' (found %s)' "$(node --version)"; fi
}

need_playwright() { npm_ci services/worker/playwright; }

# ---------------------------------------------------------------- what the tests need on top

# Go's race detector is linked through a C compiler.
need_cc() {
	have gcc && return
	have clang && return
	if apt_has gcc && apt_install gcc libc6-dev; then return; fi
	lacks "a C compiler, which go test -race needs: install gcc or clang"
}

need_clients_node() { npm_ci tests/integration/clients/node; }

need_clients_python() {
	local venv=$root/.tools/python requirements=$root/tests/integration/clients/python/requirements.txt
	cmp -s "$requirements" "$venv/installed" && return
	local python
	python=$(command -v python3) || {
		if apt_has python3 && apt_install python3 python3-venv; then
			python=python3
		else
			lacks "Python 3.10 or later: install your system's python3 with its venv module"
			return 0
		fi
	}
	say "Python client into .tools/python"
	rm -rf "$venv"
	if ! "$python" -m venv "$venv" >/dev/null 2>&1; then
		# Debian ships venv without the part that brings pip.
		if ! { apt_has python3-venv && apt_install python3-venv && "$python" -m venv --clear "$venv" >/dev/null; }; then
			lacks "Python's venv module: install it (Debian: apt-get install python3-venv)"
			return 0
		fi
	fi
	if ! "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$requirements"; then
		lacks "the Python packages of ${requirements#"$root"/}: pip fails, see above"
		return 0
	fi
	cp "$requirements" "$venv/installed"
}

# What `make bench` measures the pool beside. Debian has it where not every user's PATH leads.
need_haproxy() {
	PATH=$PATH:/usr/sbin:/usr/local/sbin have haproxy && return
	if apt_has haproxy && apt_install haproxy; then return; fi
	lacks "haproxy, which the benchmarks run beside the pool: install your system's package"
}

need_valgrind() {
	have valgrind && return
	if apt_has valgrind && apt_install valgrind; then return; fi
	lacks "valgrind, which counts the instructions of Redis: install your system's package"
}

# ---------------------------------------------------------------- helpers

# Installs a folder's Node packages by its lock file, unless just these are there already.
npm_ci() {
	local dir=$root/$1
	cmp -s "$dir/package-lock.json" "$dir/node_modules/.installed" && return
	if ! { have npm && have_node; }; then
		# need_node has said so already when it was asked for as well.
		[[ " ${needs[*]} " == *" node "* ]] || lacks "npm: it comes with Node.js $node_major_needed or later"
		return 0
	fi
	say "npm ci in $1"
	# The browsers come from need_browser: all of Playwright's own are several hundred megabytes.
	if ! (cd "$dir" && PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1 npm ci --no-audit --no-fund --loglevel=error >/dev/null); then
		lacks "the Node packages of $1: npm ci fails there, see above"
		return 0
	fi
	cp "$dir/package-lock.json" "$dir/node_modules/.installed"
}

# Two runs at once (a build here, tests there) must not install into one folder together.
lock() {
	have flock || return 0
	mkdir -p "$root/.tools"
	exec {lock_fd}>"$root/.tools/install.lock"
	flock "$lock_fd"
}

needs=("$@")
((${#needs[@]})) || needs=(redis node playwright browser)

lock
for need in "${needs[@]}"; do
	case $need in
		redis | node | playwright | browser | cc | clients-node | clients-python | haproxy | valgrind) "need_${need//-/_}" ;;
		*)
			say "unknown need '$need'; known: redis node playwright browser cc clients-node clients-python haproxy valgrind"
			exit 2
			;;
	esac
done

if ((${#missing[@]})); then
	say "this machine lacks:"
	printf '  - %s\n' "${missing[@]}" >&2
	exit 1
fi
