"Hands what settings.ini says the package needs to setuptools; everything else is in pyproject.toml."
from configparser import ConfigParser
from setuptools import setup

end = '_requirements'
needs = ConfigParser()
needs.read('settings.ini', encoding='utf-8')
needs = {k: v.split() for k,v in needs['DEFAULT'].items()}
extras = {k.removesuffix(end): v for k,v in needs.items() if k.endswith(end)}
extras['dev'] = [o for v in extras.values() for o in v] # developers need all extras, for the tests use them
setup(install_requires=needs['requirements'], extras_require=extras)
