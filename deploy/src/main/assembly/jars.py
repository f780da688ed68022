"""Copies the class path into lib/: jars.py LIB ARCH LIFEBOAT_JAR JAR...

Native libraries are left out of the jars, those of this architecture are put into LIB/native. A jar that has not changed is not
touched; one that is no longer on the class path is deleted.

zstd-jni calls its library by JNI or, from Java 22 on, through method handles, for each of which the JVM makes a class of bytecode.
That costs 30 ms where a task waits for its start, or stands frozen. So these classes are left out too, and it uses JNI.
"""
import io
import os
import sys
import zipfile

NATIVE = (".so", ".dll", ".dylib", ".jnilib", ".lib")
FOLDERS = {
    "x86_64": ("linux/amd64/", "net/jpountz/util/linux/amd64/", "linux/x86_64/glibc/"),
    "aarch64": ("linux/aarch64/", "net/jpountz/util/linux/aarch64/", "linux/armv8/glibc/"),
}
METHOD_HANDLES = "META-INF/versions/22/com/github/luben/zstd/"


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


def rewritten(source, entries):
    """The jar's new bytes; None if it stays as it is."""
    new, differs = io.BytesIO(), False
    with zipfile.ZipFile(new, "w", zipfile.ZIP_DEFLATED) as target:
        for e in entries:
            if e.filename.endswith(NATIVE) or e.filename.startswith(METHOD_HANDLES):
                differs = True
                continue
            target.writestr(e, source.read(e), e.compress_type)
    return new.getvalue() if differs else None


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
            found = [e for e in entries if e.filename.endswith(NATIVE) and e.filename.startswith(FOLDERS[arch])]
            if not found and any(e.filename.endswith(NATIVE) for e in entries):
                sys.exit("jars.py: %s has native libraries, but none in a known folder for %s" % (name, arch))
            for e in found:
                natives[os.path.basename(e.filename)] = source.read(e)
            content = rewritten(source, entries)
        if content is None:
            with open(jar, "rb") as f:
                content = f.read()
        put(os.path.join(lib, name), content, 0o644)
    for name, content in natives.items():
        put(os.path.join(lib, "native", name), content, 0o755)
    for folder, wanted in ((lib, keep), (os.path.join(lib, "native"), natives)):
        for name in os.listdir(folder):
            if name.endswith((".jar", ".new", ".so")) and name not in wanted:
                os.remove(os.path.join(folder, name))


if __name__ == "__main__":
    main(*sys.argv[1:])
