# Where this repository lies, also where another workflow takes these rules as a module. `github(...)` brings only the
# files that Snakemake itself reads, into its cache; the package and what is shipped are then unpacked from that cache.
import tarfile
import tempfile


def unpacked(source):
    """The folder with all files of the commit that `source`, a file of a git host, is from."""
    cached = source.hosted_repo.repo
    commit = cached.commit(source.ref).hexsha
    folder = Path(".snakemake/prism", commit).absolute()
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
            archive = Path(temporary, "files.tar")
            with archive.open("wb") as stream:
                cached.archive(stream, commit)
            with tarfile.open(archive) as packed:
                packed.extractall(Path(temporary, "files"), filter="data")
            # of two that unpack at once, one is enough
            with suppress(OSError):
                Path(temporary, "files").rename(folder)
    return folder


HERE = workflow.current_basedir
if HERE.is_local:
    ROOT = Path(HERE.get_path_or_uri(secret_free=True)).parent
else:
    ROOT = unpacked(HERE)
