/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The control socket of a mount, for programs that watch or steer one.
 *
 * A stream socket DIR/MAJOR:MINOR, named by the st_dev of the mount, DIR being
 * $XDG_RUNTIME_DIR/lacunafs, /run/lacunafs for root, or /tmp/lacunafs-UID. Only
 * the mount's owner and root are answered (SO_PEERCRED).
 *
 * A request is one line of JSON, ≤ LACUNA_CONTROL_LINE bytes; the answer is one or more
 * lines of JSON, then end of file. Errors: {"error": "…"}.
 *
 *   {"verb": "status"}                     one line: the mount
 *   {"verb": "file", "ino": N, "bar": N}   one line: the file whose st_ino is N
 *   {"verb": "fill", "ino": [N, …]}        a line as each file ends and at least one a
 *                                          second: {"ino": N, "bytes": N, "error": "…"}
 *                                          or {"bytes": N}, bytes arrived so far in all
 *
 * The members of the answers are documented in lacunafs(1).
 */
#pragma once

#define LACUNA_CONTROL_LINE (1u << 20)
