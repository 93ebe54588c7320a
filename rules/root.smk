# Where this repository lies, also where another workflow takes these rules as a module. `github(...)` brings only the
# files that Snakemake itself reads; the package and what is shipped are then unpacked from Snakemake's cache.
import shutil
import tempfile


def unpacked(source):
    """The folder with all files of the commit that `source`, a file of a git host, is from."""
    cached = source.hosted_repo.repo
    commit = cached.commit(source.ref).hexsha
    folder = Path(".snakemake/prism", commit).absolute()
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        with Path(temporary, "all.tar").open("wb") as stream:
            cached.archive(stream, commit)
        shutil.unpack_archive(stream.name, f"{temporary}/files", filter="data")
        # another process may have been quicker
        with suppress(OSError):
            Path(temporary, "files").rename(folder)
    return folder


HERE = workflow.current_basedir
ROOT = Path(str(HERE)).parent if HERE.is_local else unpacked(HERE)
