"""The style sheet of a node on a page, which follows the page's light or dark theme.

Colours are the notebook's if it has names for them (JupyterLab, VS Code), else shades of the text's own colour. The
preference of the system is not used, since a page need not follow it. Each rule repeats the class three times, so that
it takes precedence over the notebook's rules for tables and code.
"""

from __future__ import annotations

_RULES = """
& { color: var(--jp-content-font-color1, var(--vscode-editor-foreground, inherit)); font-size: 13px;
    line-height: 1.45;
    font-family: var(--jp-ui-font-family, system-ui, sans-serif); max-width: 100%; margin: 2px 0; text-align: left;
    --dp-line: rgba(128, 128, 128, .28); --dp-tint: rgba(128, 128, 128, .08);
    --dp-bar: var(--jp-brand-color1, var(--vscode-charts-blue, #3b82d6));
    --dp-mono: var(--jp-code-font-family, ui-monospace, Menlo, Consolas, monospace) }
& * { box-sizing: border-box }
& .dp-head { display: flex; flex-wrap: wrap; align-items: baseline; gap: 0 10px }
& .dp-name { font-weight: 600; font-size: 14px; overflow-wrap: anywhere }
& .dp-kind { font-size: 11px; padding: 0 6px; border: 1px solid var(--dp-line); border-radius: 8px }
& .dp-soft, & .dp-kind, & .dp-null { opacity: .72 }
& .dp-null { font-style: italic }
& .dp-ref { font-family: var(--dp-mono); font-size: 11px; opacity: .72; user-select: all; overflow-wrap: anywhere;
    margin: 1px 0 6px }
& p { margin: 4px 0; max-width: 80ch; overflow-wrap: anywhere }
& a { color: var(--jp-content-link-color, var(--vscode-textLink-foreground, inherit)); text-decoration: underline }
& details { margin: 0; padding: 0; border: 0; background: none }
& summary { cursor: pointer; list-style: revert; padding: 0 }
& .dp-fold { margin: 6px 0 0 }
& .dp-fold > summary { font-weight: 600 }
& .dp-wide { overflow-x: auto; max-width: 100%; margin: 4px 0 }
& table { border-collapse: collapse; border: 0; margin: 0; font-size: 12px; width: auto; table-layout: auto }
& th, & td { text-align: left; vertical-align: top; padding: 2px 10px 2px 0; border: 0; background: none;
    max-width: 32ch;
    overflow-wrap: break-word; white-space: normal; color: inherit }
& tr { background: none; border: 0 }
& thead { border: 0 }
& tbody tr { border-top: 1px solid var(--dp-line); background: none }
& tbody tr:hover { background: var(--dp-tint) }
& th { font-weight: 600 }
& .dp-grid th, & .dp-grid td { padding: 2px 9px; white-space: nowrap; overflow: hidden; text-overflow: ellipsis }
& .dp-grid th { vertical-align: bottom; padding-bottom: 4px }
& .dp-grid { border: 1px solid var(--dp-line) }
& .dp-grid thead { background: var(--dp-tint) }
& .dp-grid .dp-num { text-align: right; font-variant-numeric: tabular-nums }
& .dp-grid td { font-variant-numeric: tabular-nums }
& .dp-type, & .dp-span { display: block; font-weight: 400; font-size: 11px; opacity: .72; white-space: nowrap }
& .dp-span { font-variant-numeric: tabular-nums; display: flex; justify-content: space-between; gap: 8px }
& svg.dp-bars { display: block; width: 100%; min-width: 84px; max-width: none; height: 26px; margin: 3px 0 1px;
    fill: var(--dp-bar); overflow: visible }
& svg.dp-bars rect:hover { opacity: .6 }
& .dp-right { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
& .dp-note { font-size: 12px; opacity: .72; margin: 3px 0 0 }
& .dp-tree { border: 1px solid var(--dp-line); border-radius: 3px; margin: 6px 0 0; overflow-x: auto;
    font-size: 12px }
& .dp-tree > :first-child > .dp-row:first-child, & .dp-tree > .dp-row:first-child { border-top: 0 }
& .dp-row { display: flex; align-items: baseline; gap: 12px; padding: 2px 8px; border-top: 1px solid var(--dp-line);
    min-width: 320px }
& .dp-row:hover { background: var(--dp-tint) }
& .dp-row > :first-child { flex: 1 1 auto; min-width: 8em; overflow-wrap: anywhere;
    padding-left: calc(var(--dp-in) * 16px) }
& .dp-row > :nth-child(2) { flex: 0 0 44px; opacity: .72 }
& .dp-row > :nth-child(3) { flex: 0 1 230px; min-width: 6em; opacity: .85; font-variant-numeric: tabular-nums }
& .dp-row > :nth-child(4) { flex: 0 0 66px; text-align: right; font-variant-numeric: tabular-nums }
& .dp-mark { display: inline-block; width: 14px; font-size: 9px; opacity: .72 }
& summary.dp-row { list-style: none }
& summary.dp-row::-webkit-details-marker { display: none }
& summary.dp-row .dp-mark::before { content: "\\25B6" }
& details[open] > summary.dp-row .dp-mark::before { content: "\\25BC" }
& .dp-body { padding: 4px 8px 8px 30px; border-top: 1px solid var(--dp-line) }
& .dp-columns { display: flex; flex-wrap: wrap; gap: 0 14px }
& .dp-read { border: 1px solid var(--dp-line); border-radius: 3px; padding: 4px 12px 8px; max-height: 320px;
    overflow: auto;
    margin: 4px 0 0 }
& pre { margin: 4px 0; padding: 6px 8px; background: var(--dp-tint); border: 0; overflow-x: auto; font-size: 12px;
    font-family: var(--dp-mono); white-space: pre-wrap; overflow-wrap: anywhere; color: inherit; line-height: 1.4 }
& code { font-family: var(--dp-mono); font-size: 12px; background: var(--dp-tint); padding: 0 3px; border: 0;
    color: inherit }
& .dp-h1, & .dp-h2, & .dp-h3, & .dp-h4 { font-weight: 600; margin: 10px 0 2px }
& .dp-h1 { font-size: 17px } & .dp-h2 { font-size: 15px } & .dp-h3 { font-size: 13.5px }
& .dp-read > :first-child { margin-top: 4px }
& ul, & ol { margin: 4px 0; padding-left: 22px }
& li { margin: 0; max-width: 80ch }
& .dp-in1 { margin-left: 20px } & .dp-in2 { margin-left: 40px } & .dp-in3 { margin-left: 60px }
& blockquote { margin: 4px 0; padding-left: 10px; border-left: 3px solid var(--dp-line); color: inherit }
& hr { border: 0; border-top: 1px solid var(--dp-line); margin: 8px 0; height: 0 }
& img { display: block; max-width: 320px; max-height: 240px; margin: 6px 0 0 }
"""

SHEET = "<style>" + " ".join(_RULES.replace("&", ".datapkg" * 3).split()) + "</style>"
