#!/bin/sh
# Starts Redis with the users of users.acl. Each has a password that is made up once and kept in a volume of its own, from
# which its service reads it; Redis itself is given hashes only. Arguments are more of Redis' settings.
set -eu
umask 022

pool=${PWDIST_POOL:-default}
case $pool in *[!a-z0-9_-]* | '') echo "redis: PWDIST_POOL: use a-z, 0-9, '-' and '_'" >&2 && exit 2 ;; esac

script="s/POOL/$pool/g"
for user in proxy worker consumer; do
	file=/credentials/$user/password
	if [ ! -s "$file" ]; then
		# Aside and then moved, so that nobody reads half of it.
		od -An -N32 -tx1 /dev/urandom | tr -d ' \n' >"$file.new"
		mv "$file.new" "$file"
		echo "redis: made a password for the user $user"
	fi
	script="$script;s/PASSWORD_OF_$user/$(sha256sum <"$file" | cut -d ' ' -f 1)/"
done
sed "$script" /etc/pwdist/users.acl | grep -v -e '^#' -e '^$' >/tmp/users.acl

exec redis-server /etc/pwdist/redis.conf --aclfile /tmp/users.acl "$@"
