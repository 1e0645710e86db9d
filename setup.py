"Hands what settings.ini says the package needs to setuptools; everything else is in pyproject.toml."
from configparser import ConfigParser
from setuptools import setup

needs = ConfigParser()
needs.read('settings.ini', encoding='utf-8')
needs = needs['DEFAULT']
extras = {k.removesuffix('_requirements'): v.split() for k,v in needs.items() if k.endswith('_requirements')}
setup(install_requires=needs['requirements'].split(), extras_require=extras)
