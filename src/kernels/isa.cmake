# Flags of the instruction-set levels; everything else is compiled for the baseline x86-64. -O3 and no
# trapping or errno semantics let the element loops vectorise; neither changes a rounding.
set(ICD_KERNEL_OPTIONS -O3 -fno-trapping-math -fno-math-errno)
set_source_files_properties(${CMAKE_SOURCE_DIR}/src/kernels/ref/f32.c
    ${CMAKE_SOURCE_DIR}/src/kernels/ref/tile.c PROPERTIES COMPILE_OPTIONS "${ICD_KERNEL_OPTIONS}")
set_source_files_properties(${CMAKE_SOURCE_DIR}/src/kernels/avx2/f32.c
    ${CMAKE_SOURCE_DIR}/src/kernels/avx2/tile.c PROPERTIES
    COMPILE_OPTIONS "${ICD_KERNEL_OPTIONS};-mavx2")
set_source_files_properties(${CMAKE_SOURCE_DIR}/src/kernels/avx512/f32.c
    ${CMAKE_SOURCE_DIR}/src/kernels/avx512/tile.c PROPERTIES
    COMPILE_OPTIONS "${ICD_KERNEL_OPTIONS};-mavx2;-mavx512f;-mavx512bw;-mavx512vl;-mavx512dq;-mavx512vnni")
