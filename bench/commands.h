/* SPDX-License-Identifier: MIT */
/* commands.h - the subcommands. Each gets argv from its own name on and returns
 * an exit code. */
#ifndef BENCH_COMMANDS_H
#define BENCH_COMMANDS_H

int cmd_replay(int argc, char **argv);
int cmd_run(int argc, char **argv);
int cmd_corpus(int argc, char **argv);
int cmd_demo(int argc, char **argv);
int cmd_workload(int argc, char **argv);
int cmd_speed(int argc, char **argv);
int cmd_train(int argc, char **argv);
int cmd_profile(int argc, char **argv);
int cmd_gate(int argc, char **argv);
int cmd_report(int argc, char **argv);
int cmd_help(int argc, char **argv);

#endif
