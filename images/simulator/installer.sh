#!/bin/sh
# A stand-in for CANN's installers: the same options, but the stand-in's files. The archive follows
# the last line.
set -eu
path=/usr/local/Ascend action=
for option in "$@"; do
    case $option in
        --install-path=*) path=${option#*=} ;;
        --install) action=install ;;
        --quiet | --install-for-all | --chip=* | --blacklist=*) ;;
        *)
            echo "[ERROR] Unsupported parameters: $option" >&2
            exit 1
            ;;
    esac
done
if [ -z "$action" ]; then
    echo "[ERROR] Nothing to do: --install is missing" >&2
    exit 1
fi
mkdir -p "$path"
start=$(($(sed -n '/^ARCHIVE$/{=;q;}' "$0") + 1))
tail -n +"$start" "$0" | tar -xzf - -C "$path"
echo "[INFO] installed in $path (a stand-in without the vendor's code)"
exit 0
ARCHIVE
