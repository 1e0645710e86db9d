"Everything that a notebook needs: all of `fastai.vision.all`, and all public names of this package"
from fastai.vision.all import *
from .data import *
from .augment import *
from .pictures import *
from .loaders import *
from .layers import *
from .model import *
from .onecycle import *
from .muon import *
from .recipes import *
from .reproductions import *
from .learner import *
from .config import *
from .runs import *
from .restore import *
from .history import *
from .curves import *
from .interpret import *
from .gradcam import *
from .hub import *
from .compare import *
from .report import *
from .train import *
from .predict import *
from .export import *
from .bench import *

globals().pop('A', None)  # fastai's HTML tag, which would hide `import albumentations as A`
