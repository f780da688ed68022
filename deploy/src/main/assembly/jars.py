"""Copies the class path into lib/: jars.py LIB ARCH LIFEBOAT_JAR JAR...

Native libraries are left out of the jars, those of this architecture are put into LIB/native. A jar that has not changed is not
touched; one that is no longer on the class path is deleted.
"""
import os
import sys
import zipfile

NATIVE = (".so", ".dll", ".dylib", ".jnilib", ".lib")
FOLDERS = {
    "x86_64": ("linux/amd64/", "net/jpountz/util/linux/amd64/", "linux/x86_64/glibc/"),
    "aarch64": ("linux/aarch64/", "net/jpountz/util/linux/aarch64/", "linux/armv8/glibc/"),
}


def put(path, content, mode):
    try:
        with open(path, "rb") as f:
            if f.read() == content:
                return
    except FileNotFoundError:
        pass
    new = path + ".new"
    with open(new, "wb") as f:
        f.write(content)
    os.chmod(new, mode)
    os.rename(new, path)


def main(lib, arch, *jars):
    if arch not in FOLDERS:
        sys.exit("jars.py: there are no native libraries for " + arch)
    keep, natives = set(), {}
    for jar in jars:
        name = os.path.basename(jar)
        if name in keep:
            sys.exit("jars.py: two jars are called " + name)
        keep.add(name)
        with zipfile.ZipFile(jar) as source:
            entries = source.infolist()
            if not any(e.filename.endswith(NATIVE) for e in entries):
                with open(jar, "rb") as f:
                    put(os.path.join(lib, name), f.read(), 0o644)
                continue
            found = [e for e in entries if e.filename.endswith(NATIVE) and e.filename.startswith(FOLDERS[arch])]
            if not found:
                sys.exit("jars.py: %s has native libraries, but none in a known folder for %s" % (name, arch))
            for e in found:
                natives[os.path.basename(e.filename)] = source.read(e)
            new = os.path.join(lib, name + ".new")
            with zipfile.ZipFile(new, "w", zipfile.ZIP_DEFLATED) as target:
                for e in entries:
                    if not e.filename.endswith(NATIVE):
                        target.writestr(e, source.read(e), e.compress_type)
            with open(new, "rb") as f:
                content = f.read()
            os.remove(new)
            put(os.path.join(lib, name), content, 0o644)
    for name, content in natives.items():
        put(os.path.join(lib, "native", name), content, 0o755)
    for folder, wanted in ((lib, keep), (os.path.join(lib, "native"), natives)):
        for name in os.listdir(folder):
            if name.endswith((".jar", ".new", ".so")) and name not in wanted:
                os.remove(os.path.join(folder, name))


if __name__ == "__main__":
    main(*sys.argv[1:])
