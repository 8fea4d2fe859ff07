# Sourced by the scripts beside it, which have `out`, a folder, and `die`: $tool is docker, podman or buildah, as CONTAINER_TOOL says or the first that
# works. `store` is buildah with images of its own in $scratch: without overlay it works in any container, as root and without, and leaves nothing behind.
pick_tool() {
  local candidate
  for candidate in docker podman buildah; do
    # A docker command without its daemon, or a podman without its runtime, is no tool.
    if "$candidate" info >/dev/null 2>&1; then echo "$candidate"; return; fi
  done
  tests/install buildah >&2
  echo buildah
}

tool=${CONTAINER_TOOL:-$(pick_tool)}
command -v "$tool" >/dev/null || die "CONTAINER_TOOL $tool is not there"
scratch=$(realpath -m "$out/store")
store=("$tool" --root "$scratch/root" --runroot "$scratch/run" --storage-driver vfs)
