/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The line that answers {"verb": "attach", …}: an object of plain values.
 * Source: RFC 8259, less what no such answer has: arrays, objects within */
#pragma once

/* 0: attached, and *inherited said; else the errno that the refusal stands for: the one it
 * names, or that of a daemon which cannot. -EPROTO: no such line. */
int reply_parse(const char *line, int *inherited);
