#!/usr/bin/env bash
# Fetches the real measurements that configs and examples use from their public homes, and checks them. See --help.
set -euo pipefail

help() {
    cat <<'HELP'
Fetches real measurements from their public homes (about 6 MB) and checks their SHA-256.

    scripts/get-data.sh [DIR]        DIR is ./data if left out, which is where stackphys looks

tooth/tooth.h5             micro-CT of a tooth, synchrotron, parallel beam       TomoPy, BSD-3
brain8/cartesian_ksp.npy   brain MRI, 8 coils, undersampled                      SigPy MRI tutorial, BSD-3
m87/*.csv                  black hole M87*, visibilities of four days in 2017    Event Horizon Telescope, ODC-PDDL

A file that is there and right is kept. One that is there and wrong is never overwritten: you are told.
HELP
}

case "${1:-}" in
    -h | --help) help; exit 0 ;;
    -*) echo "get-data.sh: unknown option '$1', see --help" >&2; exit 2 ;;
esac
dir=${1:-data}

# All three projects publish on GitHub. Two of them are still edited, so the SHA-256 is what pins a file.
github=https://raw.githubusercontent.com
tomopy=$github/tomopy/tomopy/HEAD/source/tomopy/data
sigpy=$github/mikgroup/sigpy-mri-tutorial/HEAD/data
eht=$github/eventhorizontelescope/2019-D01-01/27ae76aacb9067a83388395c3826012b97aac371/csv

# SHA-256, name, folder under DIR, folder on the web.
files() {
    cat <<FILES
ab1d9bd073b7fb1beae4defa991c2a2626605c5cf1f4be0d0203656bc47b6489 tooth.h5 tooth $tomopy
bcfd07b767d26602bfccd08329321be57d500dc3f6b208cccddeb59162573045 cartesian_ksp.npy brain8 $sigpy
e11231fbb09a29762dbb318a733be329a1dfea2ba2cad4e13a6208766b0134a8 SR1_M87_2017_095_lo_hops_netcal_StokesI.csv m87 $eht
fd4d1b39ab2e561f502d70c93667d67a525aa9ac4af432ceed01669e039911c5 SR1_M87_2017_096_lo_hops_netcal_StokesI.csv m87 $eht
1dc51e3e31a840ec34de5b5ff4d8a6af0cbb73cd8c6db85e917366ed3ec7924a SR1_M87_2017_100_lo_hops_netcal_StokesI.csv m87 $eht
6411680cdd4a0b6a651b56c8ada9069ae49659935877ff7e03acb9b173a80bb2 SR1_M87_2017_101_lo_hops_netcal_StokesI.csv m87 $eht
FILES
}

sha256() {
    if command -v sha256sum >/dev/null 2>&1; then sha256sum -- "$1"; else shasum -a 256 -- "$1"; fi | cut -d ' ' -f 1
}

fetch() { # url, to
    if command -v curl >/dev/null 2>&1; then
        curl --fail --location --silent --show-error --retry 3 --connect-timeout 20 --output "$2" "$1"
    elif command -v wget >/dev/null 2>&1; then
        wget --quiet --tries=3 --timeout=20 --output-document="$2" "$1"
    else
        echo "neither curl nor wget is here" >&2
        return 1
    fi
}

part=""
trap 'rm -f ${part:+"$part"}' EXIT

wrong=0
while read -r sum name folder home; do
    file=$dir/$folder/$name
    url=$home/$name
    if [ -e "$file" ]; then
        got=$(sha256 "$file")
        if [ "$got" = "$sum" ]; then
            echo "right    $file"
        else
            echo "WRONG    $file: SHA-256 is $got, should be $sum; move it away to fetch it again" >&2
            wrong=1
        fi
        continue
    fi
    mkdir -p "$(dirname "$file")"
    # Under its own name only once it is whole and right.
    part=$(mktemp "$file.XXXXXX")
    if ! fetch "$url" "$part"; then
        echo "FAILED   $file: could not fetch $url" >&2
        wrong=1
    elif got=$(sha256 "$part") && [ "$got" != "$sum" ]; then
        echo "WRONG    $file: what $url gave has SHA-256 $got, should be $sum; it may have changed there" >&2
        wrong=1
    else
        chmod 644 "$part"
        mv -- "$part" "$file"
        echo "fetched  $file"
    fi
    rm -f -- "$part"
    part=""
done < <(files)
exit $wrong
