# Starts, stops and waits for the parts of the cluster. Sourced by `cluster`.
# shellcheck shell=bash

require() { # COMMAND PACKAGE WHAT-FOR
  command -v "$1" >/dev/null || die "$1 is missing, needed $3. Debian, Ubuntu: apt-get install $2"
}

# When process PID was started, in ticks since boot: tells it from a later one with the same id.
started_at() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }

start() { # NAME COMMAND...: in its own session, working in $DIR; log, command, process id and its start time there too
  local name=$1 pid; shift
  printf '%q ' "$@" > "$DIR/$name.command"
  ulimit -n "$(ulimit -Hn)"
  (cd "$DIR" && exec setsid "$@") >> "$DIR/$name.log" 2>&1 < /dev/null &
  pid=$!; echo "$pid $(started_at $pid)" > "$DIR/$name.pid"
}

again() { # NAME: what `stop_one NAME` ended
  local cmd; ! running "$1" || die "$1 is running already"
  eval "cmd=($(cat "$DIR/$1.command"))"; export KUBECONFIG=$DIR/admin.conf; start "$1" "${cmd[@]}"
}

running() { # NAME: is the process that `start` recorded still that process, and not a zombie?
  local pid ticks; read -r pid ticks 2>/dev/null < "$DIR/$1.pid" || return 1
  [[ -n $ticks && $(started_at "$pid") == "$ticks" && $(sed 's/.*) //' "/proc/$pid/stat" 2>/dev/null) != Z* ]]
}

stop_one() { # NAME: with its children, politely for 5 seconds; returns when it is gone
  running "$1" || return 0
  local name=$1 pid end=$((SECONDS + 5)); read -r pid _ < "$DIR/$1.pid"
  kill -- "-$pid" 2>/dev/null || kill "$pid" 2>/dev/null || return 0
  while running "$1"; do
    (( SECONDS < end )) || kill -9 -- "-$pid" 2>/dev/null || true
    # Also after SIGKILL: a big process takes its time to go, and `start` refuses while it is there.
    (( SECONDS < end + 30 )) || die "$name does not end"
    sleep 0.02
  done
}

wait_for() { # SECONDS PART COMMAND...: until the command succeeds; at once a failure when the part it waits for has ended
  local end=$((SECONDS + $1)) name=$2; shift 2
  until "$@" >/dev/null 2>&1; do
    running "$name" || { tail -n 5 "$DIR/$name.log" >&2; die "$name ended by itself; its log: $DIR/$name.log"; }
    (( SECONDS < end )) || { tail -n 5 "$DIR/$name.log" >&2; die "gave up waiting for: $* ($name's log: $DIR/$name.log)"; }
    sleep 0.05
  done
}

port_open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
