"Hands what settings.ini says the package needs to setuptools; everything else is in pyproject.toml."
from configparser import ConfigParser
from setuptools import setup

needs = ConfigParser()
needs.read('settings.ini', encoding='utf-8')
needs = needs['DEFAULT']
setup(install_requires=needs['requirements'].split(), extras_require={'dev': needs['dev_requirements'].split()})
