# SPDX-License-Identifier: MIT
#
# The plots of bench/study.sh: gnuplot -e "dir='OUT'; families='NAMES'; drafters='NAMES'; files='NAMES'" study.gp
# reads OUT/curve.dat and OUT/reliability.dat and writes curve.svg, curves.svg and reliability.svg beside them.
set encoding utf8
colours = "#888888 #1f77b4 #d62728 #2ca02c #9467bd #ff7f0e #17becf #8c564b"
place(name) = int(sum [k = 1:words(drafters)] (word(drafters, k) eq name ? k : 0))
colour_of(name) = word(colours, 1 + place(name) % words(colours))
curve = dir."/curve.dat"
set style data lines
set grid lc rgb "#dddddd"
set border lc rgb "#444444"
set key inside top left Left reverse
title_of(f) = (f eq "arctic" ? "reference" : f).", the best settings for that many nodes"

# ---- tokens per step over nodes per step, geometric mean -----------------------

set terminal svg size 800,620 font "sans,13" background "white"
set output dir."/curve.svg"
set key below Left reverse maxcols 2
set logscale x 2
set xrange [0.5:48]
set xlabel "mean draft nodes a step"
set ylabel "tokens a step (geometric mean over files)" offset 1
plot for [i = 1:words(families)] curve index word(families, i)."/mean" using 1:2 lw 2 \
         lc rgb colour_of(word(families, i)) title title_of(word(families, i)), \
     for [i = 1:words(drafters)] curve index word(drafters, i)."/budgets" using 1:2 with linespoints pt 7 ps 0.6 \
         dt 3 lc rgb colour_of(word(drafters, i)) title word(drafters, i)." at its defaults, N = 4 to 64"

# ---- the same by file -------------------------------------------------------------

rows = (words(files) + 2) / 3
set terminal svg size 960,260 * rows + 30 font "sans,11" background "white"
set output dir."/curves.svg"
set multiplot layout rows,3
do for [f = 1:words(files)] {
    set title word(files, f) noenhanced
    if (f == 1) { set key inside top left Left reverse maxcols 1 font ",9" } else { unset key }
    set xlabel ""
    set ylabel ""
    plot for [i = 1:words(families)] curve index word(families, i)."/".word(files, f) using 1:2 lw 2 \
             lc rgb colour_of(word(families, i)) title word(families, i)
}
unset multiplot

# ---- calibration --------------------------------------------------------------------

set terminal svg size 560,560 font "sans,13" background "white"
set output dir."/reliability.svg"
unset title
unset logscale
set key inside top left Left reverse maxcols 1 font ",11"
set size square
set xrange [0:1]
set yrange [0:1]
set xlabel "probability of a draft node, by its drafter"
set ylabel "share accepted"
plot x title "" lc rgb "#888888" dt 2, \
     for [i = 1:words(drafters)] dir."/reliability.dat" index word(drafters, i) using 1:2 with linespoints \
         pt 7 ps 0.6 lw 1.5 lc rgb colour_of(word(drafters, i)) title word(drafters, i)
