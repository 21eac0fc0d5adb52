# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""The results as Markdown: how many times the reference's time, median [min-max] of pairs."""
import statistics


def ratios(result, column):
    """Of the rounds in which both succeeded."""
    return [a / b for a, b in zip(result.seconds[column], result.seconds[result.reference])
            if a is not None and b is not None and b > 0]


def figure(value):
    if value >= 9.95:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 3 else f"{value:.2f}"


def spread(values):
    return f"{figure(statistics.median(values))} × " \
        f"[{figure(min(values))}–{figure(max(values))}]"


def duration(values):
    values = [v for v in values if v is not None]
    if not values:
        return "failed"
    value = statistics.median(values)
    if value < 1e-4:
        return f"{value * 1e6:.2f} µs"
    return f"{value * 1e3:.2g} ms" if value < 0.01 else \
        f"{value * 1e3:.0f} ms" if value < 1 else f"{value:.2f} s"


def size(value):
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 10 else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.2f} GiB"


def row(cells):
    return "| " + " | ".join(cells) + " |"


def table(results, columns, state):
    """columns: {name: title}"""
    shown = [n for n in columns if any(n in r.seconds for r in results)]
    lines = [row([f"{state}: time", "reference"] + [columns[n] for n in shown]),
             row(["---"] * (len(shown) + 2))]
    for r in results:
        cells = [r.title, f"{columns[r.reference]}: {duration(r.seconds[r.reference])}"
                 if r.reference else "none"]
        for n in shown:
            if n not in r.seconds:
                cells.append("")
            elif n == r.reference and any(v is not None for v in r.seconds[n]):
                cells.append("1")
            else:
                pairs = ratios(r, n) if r.reference else []
                cells.append(spread(pairs) if pairs else duration(r.seconds[n]))
        lines.append(row(cells))
    return lines


def medians(facts):
    """{name: median} of what all rounds tell."""
    return {k: statistics.median(f[k] for f in facts)
            for k in facts[0] if all(k in f for f in facts)}


def fetched(median, whole):
    """whole: bytes of all there is, None where that is what the work reads."""
    share = f", {median['bytes'] / whole:.1%} of all" if whole else ""
    asked = f"; {median['requests']:.0f} requests" if median["requests"] else ""
    return size(median["bytes"]) + share + asked


def traffic(results, columns):
    found = {r.name: {n: medians([f for f in r.facts[n] if f]) for n in r.facts
                      if n != "native" and any(r.facts[n])} for r in results}
    shown = [n for n in columns if any(n in f for f in found.values())]
    return [row(["cold: fetched"] + [columns[n] for n in shown]),
            row(["---"] * (len(shown) + 1))] + [
        row([r.title] + [fetched(found[r.name][n], r.whole) if n in found[r.name] else ""
                         for n in shown]) for r in results]


def kept(results, columns):
    """Of the disk, after `make distclean`."""
    some = [r for r in results if any("kept" in (f or ()) for n in r.facts for f in r.facts[n])]
    shown = [n for n in columns if any(any(r.facts.get(n, ())) for r in some)]
    lines = [row(["cold: kept, built and cleaned"] + [columns[n] for n in shown]),
             row(["---"] * (len(shown) + 1))]
    for r in some:
        used = {n: statistics.median(f["kept"] for f in r.facts[n] if f) for n in shown
                if any(r.facts.get(n, ()))}
        whole = used.get("native")
        lines.append(row([r.title] + [
            size(used[n]) + (f", {used[n] / whole:.1%}" if whole and n != "native" else "")
            if n in used else "" for n in shown]))
    return lines if some else []


def memory(found):
    each = found["per_100000"]
    return [row(["memory of lacunafs", "before", "after", "per 100,000 inodes"]),
            row(["---"] * 4)] + [
        row([field, size(found["before"][field]), size(found["after"][field]), size(each[field])])
        for field in each] + [
        "", f"{found['inodes']:,} inodes known to the kernel, in {found['seconds']:.2f} s."]


def markdown(results, columns, remembered):
    parts = []
    for cold in (False, True):
        some = [r for r in results if r.cold == cold]
        if some:
            parts.append(table(some, columns, "cold" if cold else "warm"))
        if some and cold:
            parts += [traffic(some, columns), kept(some, columns)]
    if remembered:
        parts.append(memory(remembered))
    failures = [f"- {r.name}, {columns[n]}: {why}" for r in results
                for n, why in r.failures.items()]
    if failures:
        parts.append(["Failed:", ""] + failures)
    return "\n\n".join("\n".join(lines) for lines in parts if lines) + "\n"
