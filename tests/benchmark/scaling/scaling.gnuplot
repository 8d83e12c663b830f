# Draws docs/scaling.csv (`csv`) as docs/scaling.png (`png`): tests/benchmark/scaling/run plot.

set terminal pngcairo size 1120,900 font "DejaVu Sans,12" linewidth 2
set output png
set datafile separator comma
set datafile missing NaN

# Okabe and Ito's colours, which colour-blind readers can tell apart.
array shards = [1, 4, 16, 64]
array colours = ["#0072B2", "#D55E00", "#009E73", "#CC79A7"]
array shapes = [7, 5, 9, 13]

set multiplot layout 2,2 margins 0.085,0.955,0.075,0.945 spacing 0.1,0.1
set logscale x 2
set xrange [1:1024]
set xtics 4
set grid linecolor rgb "#c8c8c8" linewidth 0.6 dashtype 1
set border linewidth 0.7
set tics nomirror
set key top left Left reverse samplen 2 spacing 1.1
mode = "1 slot a worker"
pick(gbit, shard, y) = strcol(1) eq mode && $2 == gbit && $4 == shard ? y : NaN
alone = 0
stats csv using (strcol(1) eq mode && $3 == 1 && $4 == 1 ? $7 / $8 : NaN) nooutput
alone = STATS_max  # examples a second of a worker without a cluster

do for [gbit in "10 100"] {
  set title sprintf("%s Gbit/s", gbit)
  set logscale y 10
  set yrange [4e3:1e7]
  set ytics format "10^{%L}"
  set ylabel gbit eq "10" ? "examples a second" : ""
  unset xlabel
  plot alone * x with lines linecolor rgb "#808080" dashtype 2 title "as many workers alone", \
    for [i = 1:4] csv using 3:(pick(int(gbit), shards[i], $7)) with linespoints \
      linecolor rgb colours[i] pointtype shapes[i] pointsize 0.9 \
      title sprintf("%d shard%s", shards[i], i == 1 ? "" : "s")
}
unset logscale y
unset key
unset title
set yrange [0:100]
set ytics format "%g %%"
set xlabel "workers, a slot each"
do for [gbit in "10 100"] {
  set ylabel gbit eq "10" ? "of what as many workers do alone" : ""
  plot for [i = 1:4] csv using 3:(pick(int(gbit), shards[i], 100 * $8)) with linespoints \
    linecolor rgb colours[i] pointtype shapes[i] pointsize 0.9
}
