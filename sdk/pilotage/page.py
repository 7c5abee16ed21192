"""A page that needs nothing beside it: one style, light and dark, for every report."""

from __future__ import annotations

import base64
import html

import cv2
import numpy as np

from pilotage.values import Rgb

_STYLE = """
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#667080;--paper:#f6f7f9;--card:#fff;--line:#dde2e8;--blue:#2463c9;
--good:#1a7f45;--bad:#c5221f;--band:#2463c926}
@media(prefers-color-scheme:dark){:root{--ink:#e8ebef;--soft:#9aa4b2;--paper:#14171b;--card:#1d2126;--line:#323941;
--blue:#7fb0ff;--good:#5fd38d;--bad:#ff8a80;--band:#7fb0ff33}}
*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:1080px;margin:0 auto;padding:28px 20px 60px}h1{margin:0;font-size:26px}h2{font-size:17px;margin:0 0 10px}
p.lead{color:var(--soft);margin:4px 0 22px}
.grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(420px,1fr));gap:16px}
section{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:16px 18px;margin-bottom:16px}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(210px,1fr));gap:12px;margin-bottom:16px}
.tile{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:12px 14px}
.tile b{display:block;font-size:24px;font-variant-numeric:tabular-nums}.tile span{color:var(--soft);font-size:13px}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}td,th{padding:5px 8px;text-align:left;
border-bottom:1px solid var(--line)}td.n{text-align:right}.ok{color:var(--good)}.no{color:var(--bad);font-weight:600}
img{max-width:100%;border-radius:6px;display:block}.pairs{display:grid;grid-template-columns:repeat(4,1fr);gap:10px}
figure{margin:0}figcaption{font-size:12px;color:var(--soft);margin-top:4px}svg{width:100%;height:auto}
svg text{fill:var(--soft);font-size:11px}.grid-line,polyline.grid{stroke:var(--line);fill:none}
polyline.main{stroke:var(--blue);stroke-width:1.6;fill:none}polygon.sigma{fill:var(--band)}
polyline.limit{stroke:var(--bad);stroke-dasharray:5 4;fill:none}svg text.limit{fill:var(--bad)}
"""


def page(title: str, heading: str, lead: str, body: str) -> str:
    """Return a whole page. `title` and `lead` are text; `heading` and `body` are HTML of ours."""
    return f"""<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>
<meta name="viewport" content="width=device-width,initial-scale=1"><style>{_STYLE}</style></head><body><main>
<h1>{heading}</h1><p class="lead">{html.escape(lead)}</p>{body}
</main></body></html>"""


def embedded(picture: Rgb, *, alt: str = "") -> str:
    """Return a picture as part of the page."""
    data = cv2.imencode(".jpg", np.ascontiguousarray(picture[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 85])[1]
    return f'<img alt="{html.escape(alt)}" src="data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}">'
