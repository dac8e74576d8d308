"""Ships the checkout's `train.py` as the module `simclr_keras.train`.

Everything else about the package is in setup.cfg; setuptools can map a
folder to a package there, but not a single file into one.
"""

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildPyWithTrain(build_py):
    def find_package_modules(self, package, package_dir):
        modules = super().find_package_modules(package, package_dir)
        if package == "simclr_keras":
            modules.append((package, "train", "train.py"))
        return modules


setup(cmdclass={"build_py": BuildPyWithTrain})
