"""Our weights as transformers.js takes them: exported by optimum, then matrices
and embedding quantised to 8 bits as for the models it is usually given.

Usage: export_onnx.py BUNDLE OUT"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

from onnxruntime.quantization import QuantType, quantize_dynamic
from optimum.exporters.onnx import main_export

bundle, out = map(Path, sys.argv[1:3])
with tempfile.TemporaryDirectory(dir=out.parent) as folder:
    folder = Path(folder)
    main_export(str(bundle), output=folder, task="text-generation-with-past", do_validation=False)
    (folder / "onnx").mkdir()
    quantize_dynamic(
        folder / "model.onnx",
        folder / "onnx" / "model_int8.onnx",
        weight_type=QuantType.QInt8,
        extra_options={"EnableSubgraph": True, "MatMulConstBOnly": True},
    )
    (folder / "model.onnx").unlink()
    generation = folder / "generation_config.json"
    settings = json.loads(generation.read_text()) if generation.exists() else {}
    # Lengths and sampling are the benchmark's.
    generation.write_text(json.dumps({k: v for k, v in settings.items() if k.endswith("_token_id")}))
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(folder, out)
