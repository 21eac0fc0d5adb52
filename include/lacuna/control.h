/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The control socket of a mount, for programs that watch or steer one.
 *
 * A stream socket DIR/MAJOR:MINOR, named by the st_dev of the mount; DIR is the first of
 * /run/lacunafs (root), $XDG_RUNTIME_DIR/lacunafs, /run/user/UID/lacunafs and
 * /tmp/lacunafs-UID that the mount's owner could make, else /tmp/lacunafs-UID.XXXXXX. Only the
 * owner and root are answered (SO_PEERCRED).
 *
 * A request is one line of JSON, ≤ LACUNA_CONTROL_LINE bytes; the answer is one or more
 * lines of JSON, then end of file. One request a connection. Errors: {"error": "…"}.
 *
 *   {"verb": "status"}                     one line: the mount
 *   {"verb": "file", "ino": "N", "bar": N} one line: the file whose st_ino is N, with its
 *                                          chunks in `bar` slices (≤ 4096)
 *   {"verb": "fill", "ino": ["N", …]}      fetches these files, whole. A line as each one
 *                                          ends: {"ino": "N", "bytes": N, "fetched": N},
 *                                          with "error" and "errno" if it is not whole;
 *                                          and one at least every second:
 *                                          {"bytes": N, "fetched": N}
 *   {"verb": "evict", "ino": ["N", …]}     gives back what can be fetched again of these files.
 *                                          A line each: {"ino": "N", "bytes": N, "newer": B},
 *                                          with "error" and "errno" if it was left alone
 *   {"verb": "refresh", "ino": ["N", …]}   takes the source's newer versions of these files, and
 *                                          the listings of these directories. Lines as of evict;
 *                                          newer: the source has, or had, another version
 *
 *   {"verb": "trace"}                      a line for each pre-content event that ends, until the
 *                                          connection is closed: see lacunafs(1)
 *   {"verb": "attach", …}                  the connection becomes that of a handler of pre-content
 *                                          events: see lacuna/precontent.h
 *   {"verb": "dismiss", "name": "…"}       handlers of that name leave, lost ones too:
 *                                          {"dismissed": N}, how many
 *
 * bytes: of fill: present, of the file or of all that were asked for; fetched: of these, how many
 * arrived since the request. Of evict and refresh: bytes given back. Inode numbers are strings,
 * since JSON's numbers lose the low bits of 64; plain numbers are understood too. Closing the
 * connection ends a fill.
 *
 * The members of the other answers are documented in lacunafs(1).
 */
#pragma once

#define LACUNA_CONTROL_LINE (1u << 20)
