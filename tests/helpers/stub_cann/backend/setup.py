"""An extension of the shape of aclruntime's: found, compiled and linked in the same way."""

import os
from pathlib import Path

from pybind11.setup_helpers import Pybind11Extension, build_ext
from setuptools import setup

cann = os.environ["CANN_PATH"]
# As the vendor's of 2022: the path and what it looks for are joined without a slash.
assert Path(cann + "acllib/lib64/stub/libascendcl.so").exists()
setup(
    name="aclruntime",
    version="0.0.1",
    ext_modules=[
        Pybind11Extension(
            "aclruntime",
            ["aclruntime.cpp"],
            include_dirs=[cann + "/acllib/include"],
            library_dirs=[cann + "/acllib/lib64/stub/"],
            libraries=["ascendcl", "acl_dvpp", "acl_cblas"],
            extra_compile_args=["--std=c++11", "-O0"],
        )
    ],
    cmdclass={"build_ext": build_ext},
    zip_safe=False,
)
