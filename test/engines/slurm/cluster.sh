#!/bin/bash
# A Slurm cluster of several hosts on this one, each in namespaces of its own (network, processes, host name, mounts), and a file
# system that they share over the network (SFTP through FUSE: inodes and cached attributes are each node's own).
#   CLUSTER=FOLDER cluster.sh up N | down | kill-node NAME | freeze-node NAME | thaw-node NAME
# Needs root, and Debian's slurmctld slurmd slurm-client munge sshfs socat openssh-sftp-server iproute2.
set -eu
place=${CLUSTER:?a folder of its own}
net=10.77.0
conf=$place/slurm.conf
start_node() {
  local name=$1 i=${1#n}
  local ns=cc-$name
  ip netns add "$ns"
  ip link add "cc$name" type veth peer name eth0 netns "$ns"
  ip link set "cc$name" master ccbr up
  ip -n "$ns" addr add "$net.$((10 + i))/24" dev eth0
  ip -n "$ns" link set eth0 up; ip -n "$ns" link set lo up
  mkdir -p "$place/$name/spool"
  # The first process of the namespace: when it dies, all on the node die, as with a power cut.
  nsenter --net="/run/netns/$ns" setsid unshare --uts --pid --mount --fork --kill-child --propagation private bash -c "
    hostname $name; mount -t proc proc /proc; mount --bind $place/hosts /etc/hosts
    sshfs -o directport=2222 $net.1:$place/shared /shared
    exec slurmd -D -f $conf -N $name -L $place/$name/slurmd.log" >"$place/$name/out" 2>&1 </dev/null &
  echo $! >"$place/$name/pid"
}
# All processes of a node but those that are not in its namespace.
signal_node() {
  local name=$1 signal=$2 space
  space=$(readlink "/proc/$(pgrep -P "$(cat "$place/$name/pid")")/ns/pid")
  for process in /proc/[0-9]*; do
    [ "$(readlink "$process/ns/pid")" = "$space" ] && kill "-$signal" "${process#/proc/}"
  done
  return 0
}
kill_node() {
  local name=$1
  kill -9 "$(cat "$place/$name/pid")" 2>/dev/null || true
  sleep 0.3
  ip netns del "cc-$name" 2>/dev/null || true
  ip link del "cc$name" 2>/dev/null || true
}
case $1 in
up)
  mkdir -p "$place/ctld"
  ip link add ccbr type bridge; ip addr add "$net.1/24" dev ccbr; ip link set ccbr up
  { echo "127.0.0.1 localhost"; echo "$net.1 $(hostname)"; for i in $(seq "$2"); do echo "$net.$((10 + i)) n$i"; done; } >"$place/hosts"
  cat >"$conf" <<C
ClusterName=test
SlurmctldHost=$(hostname)($net.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$place/munge/socket
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
SlurmctldPidFile=$place/ctld/pid
SlurmdPidFile=$place/%n/slurmd.pid
SlurmdSpoolDir=$place/%n/spool
StateSaveLocation=$place/ctld
SlurmctldLogFile=$place/ctld/log
ReturnToService=2
SlurmdTimeout=6
SlurmctldTimeout=10
MinJobAge=600
SchedulerParameters=sched_interval=2,requeue_delay=1
$(for i in $(seq "$2"); do echo "NodeName=n$i NodeAddr=$net.$((10 + i)) CPUs=2 RealMemory=4000 State=UNKNOWN"; done)
PartitionName=main Nodes=n[1-$2] Default=YES MaxTime=INFINITE State=UP
C
  mkdir -p "$place/munge"; chown munge: "$place/munge"; chmod 755 "$place/munge"
  mkdir -p "$place/shared" /shared
  setsid socat "TCP-LISTEN:2222,bind=$net.1,fork,reuseaddr" EXEC:/usr/lib/openssh/sftp-server >"$place/socat" 2>&1 </dev/null &
  echo $! >"$place/socat.pid"
  head -c 1024 /dev/urandom >"$place/munge/key"; chown munge: "$place/munge/key"; chmod 400 "$place/munge/key"
  setpriv --reuid munge --regid munge --clear-groups munged --foreground --key-file="$place/munge/key" --socket="$place/munge/socket" --log-file="$place/munge/log" --pid-file="$place/munge/pid" --seed-file="$place/munge/seed" >"$place/munge/out" 2>&1 </dev/null &
  for _ in $(seq 50); do [ -S "$place/munge/socket" ] && break; sleep 0.1; done
  slurmctld -D -f "$conf" >"$place/ctld/out" 2>&1 </dev/null &
  echo $! >"$place/ctld/own-pid"
  for i in $(seq "$2"); do start_node "n$i"; done
  ;;
down)
  for dir in "$place"/n*; do kill_node "$(basename "$dir")"; done
  kill "$(cat "$place/ctld/own-pid")" || true
  kill "$(cat "$place/munge/pid")" || true
  pkill -TERM -s "$(cat "$place/socat.pid")" || true
  ip link del ccbr || true
  ;;
kill-node) kill_node "$2" ;;
freeze-node) signal_node "$2" STOP ;;
thaw-node) signal_node "$2" CONT ;;
esac
