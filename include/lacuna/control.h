/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The control socket of a mount, for programs that monitor or control it.
 *
 * A stream socket DIR/MAJOR:MINOR, named by the st_dev of the mount; DIR is the first of
 * /run/lacunafs (root), $XDG_RUNTIME_DIR/lacunafs, /run/user/UID/lacunafs and
 * /tmp/lacunafs-UID that the mount's owner could create, else /tmp/lacunafs-UID.XXXXXX. The
 * daemon answers only the owner and root (SO_PEERCRED).
 *
 * A request is one line of JSON, ≤ LACUNA_CONTROL_LINE bytes; the answer is one or more
 * lines of JSON, then end of file. One request per connection. Errors: {"error": "…"}.
 *
 *   {"verb": "status"}                     one line: the mount
 *   {"verb": "file", "ino": "N", "bar": N} one line: the file whose st_ino is N, with its
 *                                          chunks in `bar` slices (≤ 4096)
 *   {"verb": "fill", "ino": ["N", …]}      fetches these files completely. A line as each file
 *                                          ends: {"ino": "N", "bytes": N, "fetched": N},
 *                                          with "error" and "errno" if it is incomplete;
 *                                          and at least one every second:
 *                                          {"bytes": N, "fetched": N}
 *   {"verb": "evict", "ino": ["N", …]}     drops the cached data of these files. A line each:
 *                                          {"ino": "N", "bytes": N, "newer": B},
 *                                          with "error" and "errno" if the file was skipped
 *   {"verb": "refresh", "ino": ["N", …]}   takes the source's newer versions of these files, and
 *                                          the listings of these directories. Lines as for evict;
 *                                          newer: the source has, or had, another version
 *   {"verb": "pin", "ino": ["N", …]}       never evicts these files, nor files below these
 *                                          directories, automatically. Lines as for evict
 *   {"verb": "unpin", "ino": ["N", …]}     takes that back
 *
 *   {"verb": "metrics"}                    {"openmetrics": "TEXT"}: as `lacunafs metrics` prints it
 *   {"verb": "verify", "repair": B, "bytes": B}
 *                                          checks the store; bytes (true): cached data too. A
 *                                          line for each finding, one with the totals so far
 *                                          every half second, and a last one that has "store":
 *                                          see lacunafs(1)
 *   {"verb": "upgrade"}                    the client's own program (its /proc/PID/exe) takes over
 *                                          the mount: {"upgraded": true}. Of the owner only
 *   {"verb": "trace"}                      a line for each pre-content event that ends, until the
 *                                          connection is closed: see lacunafs(1)
 *   {"verb": "attach", …}                  the connection becomes that of a handler of pre-content
 *                                          events: see lacuna/precontent.h
 *   {"verb": "dismiss", "name": "…"}       removes the handlers of this name, also lost ones:
 *                                          {"dismissed": N}, their number
 *
 * bytes: for fill, the present bytes of the file or of all requested files; fetched: those of them
 * that arrived since the request. For evict and refresh, bytes freed. Inode numbers are strings,
 * since JSON's numbers lose the low bits of 64; plain numbers are accepted too. Closing the
 * connection ends a fill.
 *
 * The members of the other answers are documented in lacunafs(1).
 */
#pragma once

#define LACUNA_CONTROL_LINE (1u << 20)
