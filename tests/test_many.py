"Many runs at once: processes that are killed, a real Dask cluster, runs that fail, and Ctrl-C."
import json, os, signal, subprocess, sys, time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Thread
import pytest
from conftest import finish, start

small = dict(epochs=3, bs=8, precision='fp32')
