#!/bin/bash
# A job array whose nodes are lost under way: bash test/engines/slurm/run.sh. Needs what cluster.sh needs, and the built command.
# One node is killed, another one freezes and comes back when the target is complete; what is joined is what one run writes.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
export CLUSTER=${CLUSTER:-$(mktemp -d)}
export SLURM_CONF=$CLUSTER/slurm.conf PARTS=8
say() { echo "$(date +%T) $*"; }
fail() { say "FAILED: $*"; exit 1; }

mkdir -p "$CLUSTER/bin"
printf '#!/bin/sh\nexec %s %s/dist/bin/convert-checkpoint.js "$@"\n' "$(command -v node)" "$root" >"$CLUSTER/bin/convert-checkpoint"
chmod +x "$CLUSTER/bin/convert-checkpoint"
export PATH=$CLUSTER/bin:$PATH

"$here/cluster.sh" up 4
trap '"$here/cluster.sh" down 2>/dev/null' EXIT
for _ in $(seq 40); do [ "$(sinfo -h -t idle -o %D)" = 4 ] && break; sleep 0.5; done
say "nodes: $(sinfo -h -o '%N %T')"

shared=$CLUSTER/shared
mkdir "$shared/config"
cat >"$shared/config/config.json" <<'C'
{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 1024, "intermediate_size": 2816,
 "num_hidden_layers": 24, "num_attention_heads": 16, "num_key_value_heads": 4, "head_dim": 64, "vocab_size": 32000,
 "rms_norm_eps": 1e-5, "rope_theta": 10000, "max_position_embeddings": 2048, "tie_word_embeddings": false, "dtype": "bfloat16"}
C
convert-checkpoint init "$shared/config" "$shared/model" --quiet --no-fsync
convert-checkpoint "$shared/model" "$CLUSTER/whole" --quiet
say "model: $(du -sb "$shared/model" | awk '{ print int($1 / 1e6) }') MB; one run's digest: $(cd "$CLUSTER/whole" && find . -type f | sort | xargs sha256sum | sha256sum | cut -c1-16)"

cd "$shared"
job=$(sbatch --parsable --array=1-$PARTS --chdir=/shared --output=part-%a.log "$root/docs/many-machines/part.sbatch" /shared/model /shared/native)
last=$(sbatch --parsable --dependency="afterok:$job" --kill-on-invalid-dep=yes --chdir=/shared --output=finalize.log --wrap "convert-checkpoint finalize /shared/native")
say "submitted: array $job of $PARTS parts, finalize $last after it"
running() { squeue -h -r -t R -o "%K on %N" --job="$job" | sort -n | paste -sd, ; }
for _ in $(seq 200); do [ "$(squeue -h -r -t R -j "$job" | wc -l)" = 4 ] && break; sleep 0.2; done
sleep "${BEFORE:-2}"
say "running: $(running)"
"$here/cluster.sh" freeze-node n3; say "n3 freezes"
"$here/cluster.sh" kill-node n2; say "n2 loses its power"
before=
for _ in $(seq 600); do
  now="$(running); nodes $(sinfo -h -o '%N %T' | paste -sd, )"
  [ "$now" = "$before" ] || say "running: $now"
  before=$now
  [ -z "$(squeue -h -j "$job,$last" 2>/dev/null)" ] && break
  sleep 0.5
done
for task in $(seq $PARTS); do
  say "part $task: $(scontrol show job "${job}_$task" | grep -oE '(JobState|Restarts|BatchHost)=\S+' | paste -sd' ')"
done
say "finalize: $(scontrol show job "$last" | grep -oE '(JobState|BatchHost|ExitCode)=\S+' | paste -sd' ')"
"$here/cluster.sh" thaw-node n3; say "n3 comes back, and its lost task goes on"
sleep 5
for log in part-*.log finalize.log; do echo "--- $log"; cat "$log"; done
diff -r "$CLUSTER/whole" "$shared/native" || fail "other bytes"
left=$(find "$shared" -mindepth 1 -maxdepth 1 -name '.*')
[ -z "$left" ] || fail "left: $left"
say "the same bytes as one run, and nothing beside"
