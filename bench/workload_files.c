/* SPDX-License-Identifier: MIT */
/*
 * The files of the kind "edits": modules in two languages, each about one
 * entity ($e) with four fields ($f1 to $f4) and two constants ($c1, $c2).
 */
#include "workload_files.h"

static const wl_rule rules[] = {
    {"number_field",
     "amount|price|quantity|weight|score|cost|duration|balance|discount|distance|capacity|volume", 2,
     WL_PHRASE},
    {"text_field",
     "status|category|country|owner|region|kind|channel|currency|label|language|priority|supplier", 2,
     WL_PHRASE},
    {"limit_name", "MAX_ITEMS|PAGE_SIZE|MAX_ATTEMPTS|BATCH_LIMIT|CACHE_SIZE|WINDOW_DAYS", 2, WL_PHRASE},
    {"rate_name", "DEFAULT_RATE|TAX_RATE|SMOOTHING|MIN_SHARE|DECAY|TOLERANCE", 2, WL_PHRASE},
    {"new_prefix", "net|base|raw|total|current|initial|final|billed", 2, WL_PHRASE},
    {"done",
     "Here is the updated file.|Done. The whole file after the change:|"
     "I made the change; nothing else is touched.|Updated file below.|Sure, here it is:||",
     2, WL_PHRASE},
    {"done_part", "Only this function changes:|Here is the function.|The changed function:||", 2, WL_PHRASE},
    {"aside",
     "\nThe callers need no change.|\nI left the {noun} handling as it was.|"
     "\nTests that {verb} this should still pass.||||||",
     0, WL_PHRASE},
    {"remark",
     "Assumes that the records are sorted.|Kept apart from the rest so that it can be tested.|"
     "The order of the input is preserved.|Runs once per request, so it must stay cheap.|"
     "Called by the nightly job.|Records without a value are left out.",
     0, WL_PHRASE},
};
const wl_rule_table wl_file_rules = WL_TABLE(rules);

static const wl_language python = {
    .fence = "python",
    .suffix = ".py",
    .opener = "def ",
    .guard = "    if not {$argument}:\n        raise ValueError(\"{$argument} must not be empty\")\n",
    .log = "    logger.{$level}(\"{$function} is done with {$argument}\")\n",
    .comment = "    \"\"\"{remark}\"\"\"\n",
    .comment_inside = true,
    .head = "import json\nimport logging\nfrom dataclasses import dataclass\nfrom datetime import datetime\n"
            "\nlogger = logging.getLogger(__name__)\n\n{$c1} = {#5-90}0\n{$c2} = 0.{#1-9}{#1-9}\n\n\n"
            "@dataclass\nclass {^$e}:\n    id: int\n    {$f1}: float\n    {$f2}: str\n    {$f3}: float\n"
            "    {$f4}: str\n    created_at: datetime\n",
    .function =
        {
            "def load_{$es}(path):\n    {$es} = []\n    with open(path) as source:\n"
            "        for line in source:\n            row = json.loads(line)\n"
            "            {$es}.append({^$e}(row[\"id\"], float(row[\"{$f1}\"]), row[\"{$f2}\"], "
            "float(row[\"{$f3}\"]), row[\"{$f4}\"], datetime.fromisoformat(row[\"created_at\"])))\n"
            "    return {$es}\n",
            "def total_{$f1}({$es}):\n    total = 0.0\n    for {$e} in {$es}:\n"
            "        total += {$e}.{$f1}\n    return total\n",
            "def group_by_{$f2}({$es}):\n    groups = dict()\n    for {$e} in {$es}:\n"
            "        groups.setdefault({$e}.{$f2}, []).append({$e})\n    return groups\n",
            "def filter_{$es}({$es}, {$f2}, limit={$c1}):\n    found = []\n    for {$e} in {$es}:\n"
            "        if {$e}.{$f2} == {$f2}:\n            found.append({$e})\n"
            "        if len(found) >= limit:\n            break\n    return found\n",
            "def adjusted_{$f3}({$e}, rate={$c2}):\n    if {$e}.{$f4} == \"exempt\":\n"
            "        return {$e}.{$f3}\n    return round({$e}.{$f3} * (1 + rate), 2)\n",
            "def save_{$es}({$es}, path):\n    rows = [vars({$e}) for {$e} in {$es}]\n"
            "    with open(path, \"w\") as target:\n        for row in rows:\n"
            "            row[\"created_at\"] = row[\"created_at\"].isoformat()\n"
            "            target.write(json.dumps(row) + \"\\n\")\n    return len(rows)\n",
            "def latest_{$e}({$es}):\n    return max({$es}, key=lambda {$e}: {$e}.created_at, "
            "default=None)\n",
            "def mean_{$f3}({$es}):\n    values = [{$e}.{$f3} for {$e} in {$es} if {$e}.{$f3} > 0]\n"
            "    if len(values) == 0:\n        return 0.0\n    return sum(values) / len(values)\n",
            "def validate_{$e}({$e}):\n    errors = []\n    if {$e}.{$f1} < 0:\n"
            "        errors.append(\"{$f1} is negative\")\n    if {$e}.{$f3} < 0:\n"
            "        errors.append(\"{$f3} is negative\")\n    if not {$e}.{$f2}:\n"
            "        errors.append(\"{$f2} is missing\")\n    if not {$e}.{$f4}:\n"
            "        errors.append(\"{$f4} is missing\")\n    return errors\n",
            "def merge_{$es}(old, new):\n    by_id = dict()\n    for {$e} in old + new:\n"
            "        known = by_id.get({$e}.id)\n        if known is None or known.created_at < "
            "{$e}.created_at:\n            by_id[{$e}.id] = {$e}\n"
            "    return sorted(by_id.values(), key=lambda {$e}: {$e}.id)\n",
            "def report_{$f2}({$es}):\n    lines = []\n    for {$f2}, members in "
            "sorted(group_by_{$f2}({$es}).items()):\n        share = sum({$e}.{$f1} for {$e} in "
            "members)\n        lines.append({$f2} + \": \" + str(round(share, 2)))\n"
            "    return \"\\n\".join(lines)\n",
        },
};

static const wl_language typescript = {
    .fence = "typescript",
    .suffix = ".ts",
    .opener = "export function ",
    .guard = "  if (!{$argument}) {\n    throw new Error(\"{$argument} is required\");\n  }\n",
    .log = "  console.{$level}(\"{$function} is done\", {$argument});\n",
    .comment = "// {remark}\n",
    .comment_inside = false,
    .head = "import { readFile, writeFile } from \"fs\";\n\nconst {$c1} = {#5-90}0;\n"
            "const {$c2} = 0.{#1-9}{#1-9};\n\nexport interface {^$e} {\n  id: number;\n  {$f1}: number;\n"
            "  {$f2}: string;\n  {$f3}: number;\n  {$f4}: string;\n  createdAt: string;\n}\n",
    .function =
        {
            "export function total_{$f1}({$es}: {^$e}[]): number {\n  let total = 0;\n"
            "  for (const {$e} of {$es}) {\n    total += {$e}.{$f1};\n  }\n  return total;\n}\n",
            "export function groupBy_{$f2}({$es}: {^$e}[]): Map<string, {^$e}[]> {\n"
            "  const groups = new Map<string, {^$e}[]>();\n  for (const {$e} of {$es}) {\n"
            "    const members = groups.get({$e}.{$f2}) || [];\n    members.push({$e});\n"
            "    groups.set({$e}.{$f2}, members);\n  }\n  return groups;\n}\n",
            "export function parse_{$es}(text: string): {^$e}[] {\n"
            "  const rows = text.split(\"\\n\").filter((line) => line.length > 0);\n"
            "  return rows.map((line) => JSON.parse(line) as {^$e});\n}\n",
            "export function first_{$es}({$es}: {^$e}[], {$f2}: string, limit = {$c1}): {^$e}[] {\n"
            "  const found: {^$e}[] = [];\n  for (const {$e} of {$es}) {\n"
            "    if ({$e}.{$f2} === {$f2}) {\n      found.push({$e});\n    }\n"
            "    if (found.length >= limit) {\n      break;\n    }\n  }\n  return found;\n}\n",
            "export function adjusted_{$f3}({$e}: {^$e}, rate = {$c2}): number {\n"
            "  if ({$e}.{$f4} === \"exempt\") {\n    return {$e}.{$f3};\n  }\n"
            "  return Math.round({$e}.{$f3} * (1 + rate) * 100) / 100;\n}\n",
            "export function latest_{$e}({$es}: {^$e}[]): {^$e} |"
            " undefined {\n  const sorted = [...{$es}].sort((a, b) => (a.createdAt < b.createdAt ? 1 : "
            "-1));\n  return sorted[0];\n}\n",
            "export function check_{$e}({$e}: {^$e}): string[] {\n  const errors: string[] = [];\n"
            "  if ({$e}.{$f1} < 0) {\n    errors.push(\"{$f1} is negative\");\n  }\n"
            "  if ({$e}.{$f3} < 0) {\n    errors.push(\"{$f3} is negative\");\n  }\n"
            "  if ({$e}.{$f2} === \"\") {\n    errors.push(\"{$f2} is missing\");\n  }\n"
            "  return errors;\n}\n",
            "export function mean_{$f3}({$es}: {^$e}[]): number {\n"
            "  const values = {$es}.map(({$e}) => {$e}.{$f3}).filter((value) => value > 0);\n"
            "  if (values.length === 0) {\n    return 0;\n  }\n"
            "  return values.reduce((sum, value) => sum + value, 0) / values.length;\n}\n",
            "export function report_{$f4}({$es}: {^$e}[]): string {\n  const lines: string[] = [];\n"
            "  for (const {$e} of {$es}) {\n    lines.push({$e}.{$f4} + \": \" + "
            "{$e}.{$f1}.toFixed(2));\n  }\n  return lines.sort().join(\"\\n\");\n}\n",
        },
};

const wl_repository wl_repositories[] = {
    {"billing", &python, "invoice|payment|refund|account"},
    {"webshop", &typescript, "order|product|voucher|basket"},
    {"logistics", &python, "parcel|route|pallet|depot"},
    {"clinic-app", &typescript, "visit|patient|ward|bed"},
    {"telemetry", &python, "reading|device|alarm|station"},
};
const size_t wl_n_repositories = WL_COUNT(wl_repositories);
